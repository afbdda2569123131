"""Distilling a slow, accurate teacher potential into a fast student: sample, label, train, card.

Four steps that talk through folders, so that each may run elsewhere and be resumed:

``sample``  configurations of the material, each with the system it belongs to and how it was made → ``pool/``
``label``   the teacher's energies, forces and stresses, computed in the teacher's own environment → ``labelled/``
``train``   mace-torch's own training on the labelled set → ``model/``
``card``    the student against the teacher on systems it never saw → ``card.html``

and what is built of them: ``doubt`` (a committee's disagreement against true errors), ``active`` (rounds of all four
where the student doubts) and ``pareto`` (students of several shapes on one budget).

Importing this loads no torch.
"""
