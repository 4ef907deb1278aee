"""Operating points: how sure an artefact must be, found on its own outputs; arrays, no torch."""
