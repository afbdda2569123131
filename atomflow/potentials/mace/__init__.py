"""MACE: models of mace-torch evaluated on flat batches, faster than by their own modules and with the same numbers.

``potential`` is what the rest of atomflow sees, ``files`` how a model is kept, ``imports`` how mace-torch is found.

A model is evaluated in one of three ways, each tried against the next when the model is loaded:

* ``dynamics``, for molecular dynamics on a CPU: ``arrays`` takes the model apart into plain arrays (radial functions by
  ``tables``), ``kernels`` holds the compiled loops;
* ``shorter``, differentiable, for training and where numba is missing: compiled sums over pairs (``messages``, whose
  terms are ``paths``), matrices (``mixing``), products of messages as polynomials (``products``), radial functions
  between knots (``radial``);
* mace-torch's own modules, for models of any other make and on a GPU.
"""
