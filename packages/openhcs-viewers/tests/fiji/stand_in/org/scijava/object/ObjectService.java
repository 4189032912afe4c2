package org.scijava.object;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

public class ObjectService {

    private final Map<String, Object> objects = new ConcurrentHashMap<>();

    public void addObject(final Object object, final String name) {
        objects.put(name, object);
    }

    public Object getObject(final String name) {
        return objects.get(name);
    }
}
