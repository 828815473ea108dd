"""One stage a module: ``VERSION`` and ``run(context)``; heavy libraries are imported when a stage runs."""
