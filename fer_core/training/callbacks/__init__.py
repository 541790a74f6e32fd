"""What watches a phase of training: one callback per file.

Their order matters. ``Reporter`` sets the epoch's batches and speaks during the epoch, ``Validation`` scores
its end, ``Best`` compares it, ``EpochEvents`` tells of it, ``Plateau``, ``IncreaseWeightDecayOnLRDrop`` and
``EarlyStopping`` draw their conclusions for the next epoch, and ``Checkpoint`` comes last: what it saves must hold
the outcome of all the others, or a resumed run takes another course. Where weights are averaged, ``SwapAverages``
stands on both sides of those that look at weights.
"""
