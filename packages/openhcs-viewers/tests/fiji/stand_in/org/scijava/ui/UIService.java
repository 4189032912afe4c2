package org.scijava.ui;

import ij.IJ;
import java.awt.Frame;
import java.awt.GraphicsEnvironment;

public class UIService {

    private final Frame window;

    public UIService(final Frame window) {
        this.window = window;
    }

    public boolean isHeadless() {
        return GraphicsEnvironment.isHeadless();
    }

    /** True without a display, too: it cannot be used to find out. */
    public boolean isVisible() {
        return window == null || window.isVisible();
    }

    public void showUI() {
        // A main window that somebody put in its place stays; the gateway's is hidden for good.
        if (window != null && IJ.getInstance() == window) {
            window.pack();
            window.setVisible(true);
        }
    }
}
