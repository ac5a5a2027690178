"""One file per foreign framework that Recollect attaches to; each is imported only when asked for."""
