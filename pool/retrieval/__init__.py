"""From a scenario to a panel: vectors, index, demand, selection, gate, calibration."""
