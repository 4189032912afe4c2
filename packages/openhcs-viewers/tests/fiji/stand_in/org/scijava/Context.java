package org.scijava;

import org.scijava.object.ObjectService;

public class Context {

    private final ObjectService objects = new ObjectService();
    private volatile boolean disposed;

    public Object service(final Class<?> type) {
        if (type == ObjectService.class) return objects;
        throw new IllegalArgumentException("Invalid service: " + type.getName());
    }

    public boolean isDisposed() {
        return disposed;
    }

    public void dispose() {
        disposed = true;
    }
}
