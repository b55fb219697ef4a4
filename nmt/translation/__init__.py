"""Translation of lines and files, distillation and back-translation that build on it."""
