"""From a command line to a finished run: compose, check, freeze, execute."""
