package net.imagej;

import ij.IJ;
import java.awt.Frame;
import java.awt.GraphicsEnvironment;
import java.lang.reflect.Method;
import net.imagej.legacy.LegacyService;
import org.scijava.Context;
import org.scijava.ui.UIService;

/**
 * Stands in for the gateway of ImageJ2, which no registry that tests can use has. It insists on what the real one was
 * seen to insist on, and does as it does when somebody forgets: see the comments.
 */
public class ImageJ {

    /** Classes that its class patcher must be the first to see. */
    private static final String[] PATCHED = {
        "ij.IJ", "ij.ImageJ", "ij.ImagePlus", "ij.ImageStack", "ij.Prefs", "ij.WindowManager", "ij.gui.ImageWindow"
    };

    private final Context context = new Context();
    private final LegacyService legacy;
    private final UIService ui;

    public ImageJ() {
        for (final String name : PATCHED) {
            if (isLoaded(name)) throw new IllegalArgumentException("Invalid service: " + LegacyService.class.getName());
        }
        // Without a display the real one says nothing, either, and has no main window.
        final Frame window = GraphicsEnvironment.isHeadless() ? null : MainWindow.open(context);
        legacy = new LegacyService(context);
        ui = new UIService(window);
    }

    /** Needs the same opening of java.lang that the real one needs. */
    private static boolean isLoaded(final String name) {
        try {
            final Method find = ClassLoader.class.getDeclaredMethod("findLoadedClass", String.class);
            find.setAccessible(true);
            return find.invoke(ImageJ.class.getClassLoader(), name) != null;
        }
        catch (final ReflectiveOperationException | RuntimeException closed) {
            throw new IllegalArgumentException("Invalid service: " + LegacyService.class.getName(), closed);
        }
    }

    public Context context() {
        return context;
    }

    public Context getContext() {
        return context;
    }

    public UIService ui() {
        return ui;
    }

    public Object get(final String name) {
        if (LegacyService.class.getName().equals(name)) return legacy;
        throw new IllegalArgumentException("No compatible service: " + name);
    }

    public String getVersion() {
        return IJ.getVersion();
    }

    /** Closes every window of ImageJ, too. */
    public void dispose() {
        context.dispose();
        if (IJ.getInstance() == null) return;
        IJ.getInstance().dispose();
        try {
            final Method forget = IJ.class.getDeclaredMethod("cleanup");
            forget.setAccessible(true);
            forget.invoke(null);
        }
        catch (final ReflectiveOperationException impossible) {
            throw new IllegalStateException(impossible);
        }
    }
}
