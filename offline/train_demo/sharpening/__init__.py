"""Fine-tuning of a generator behind its frozen mapping: widening, the optimiser Muon and the phases."""
