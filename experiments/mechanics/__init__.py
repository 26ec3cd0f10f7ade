"""The theory of VAEs from Bayes' theorem to generation, each equation verified."""
