"""What runs on a compute node. Torch, numpy and the standard library are all it needs.

Reading order: pilot, referee, attempt (the story of one experiment), children, questions, scoring,
harness.
"""

# The frozen node code: every module that decides a number, below the package folder.
FROZEN = (
    "__init__.py",
    "errors.py",
    "experiment.py",
    "layout.py",
    "space.py",
    "settings.py",
    "process.py",
    "hardware.py",
    "node/__init__.py",
    "node/attempt.py",
    "node/children.py",
    "node/compiled.py",
    "node/data.py",
    "node/device.py",
    "node/explain.py",
    "node/failure.py",
    "node/freeze.py",
    "node/harness.py",
    "node/inputs.py",
    "node/kernel.py",
    "node/launch.py",
    "node/lookups.py",
    "node/order.py",
    "node/output.py",
    "node/pace.py",
    "node/pilot.py",
    "node/progress.py",
    "node/questions.py",
    "node/referee.py",
    "node/runlog.py",
    "node/sandbox.py",
    "node/scoring.py",
    "node/scratch.py",
    "node/signature.py",
    "node/wire.py",
)
