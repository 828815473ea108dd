"""Students and teachers: networks, distillation methods, training and evaluation."""
