package net.imagej.legacy;

import org.scijava.Context;

/** ImageJ 1 inside ImageJ2; inactive once the context is gone. */
public class LegacyService {

    private final Context context;

    public LegacyService(final Context context) {
        this.context = context;
    }

    public boolean isActive() {
        return !context.isDisposed();
    }
}
