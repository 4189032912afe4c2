package net.imagej;

import ij.IJ;
import java.awt.Frame;
import org.scijava.Context;

/** The main window belongs to the gateway: hidden until its UI is shown, and the context ends with it. */
public class MainWindow extends ij.ImageJ {

    private static final long serialVersionUID = 1L;

    private final transient Context context;

    /** Returns a frame, for a class that names this one loads ImageJ 1 when it is loaded itself. */
    static Frame open(final Context context) {
        return new MainWindow(context);
    }

    private MainWindow(final Context context) {
        super(null, ij.ImageJ.NO_SHOW);
        this.context = context;
        exitWhenQuitting(true);
    }

    /** Runs when the user quits. */
    @Override
    public void run() {
        super.run();
        if (IJ.getInstance() == null) context.dispose();
    }
}
