"""The help texts, answered before anything is imported."""

from __future__ import annotations

VERBS = {
    "train": "fit a model, measure its best checkpoint beside reference models; with -m a sweep",
    "evaluate": "measure a finished run on a split or on a new file",
    "predict": "predict the rows of a new file with a finished run",
    "lr-find": "look for the learning rate of a configuration: a number, the reason, a picture",
    "list": "what there is to choose from: losses, models, data, … one line each",
}

_TOP = """mlfund VERB [key=value …]

{verbs}

  mlfund train task=binary                       a complete run on data that come with the package
  mlfund train task=ranking loss=listnet optim.lr=3e-4
  mlfund train -m task=regression loss=mse,huber seed=0,1,2
  mlfund train data=table data.path=x.parquet data.target=y task=regression
  mlfund list losses

mlfund VERB --help tells more of a verb; mlfund --version the version.
Exit codes: 0 done; 2 the input is wrong; 3 training failed; 143 stopped by a scheduler, resumable.
Environment: OMP_NUM_THREADS (default 1, right for small models), MLFUND_TRACEBACK=1 shows tracebacks."""

_OF_VERB = {
    "train": """mlfund train [-m] [--config-dir DIR] [--cfg] [group=option …] [key=value …]
mlfund train run=FOLDER [name=…] [runs_dir=…]

Composes a configuration, checks all of it, writes it to <runs_dir>/<task>/<time>-<name>-…/run.yaml and
executes that file. The last line of the output is the result as JSON.

  task=…             binary, multiclass, regression, ranking or retrieval; alone a complete run
  loss= optim= schedule= regularization= model= data= trainer= callbacks= logger= experiment= debug=
                     another option for one part of it; `mlfund list` shows them
  loss.delta=2       a value; a name that does not exist is an error, with the one you may have meant
  run=FOLDER         resume the interrupted run in this folder, or repeat a finished one in a new folder

  -m, --multirun     run all combinations of values with commas: loss=mse,mae seed=0,1,2; sweep=stacked
                     trains seeds and rates of one small model together
  sweep=lr           spend sweep.minutes=10 on the learning rate alone
  --config-dir DIR   a further folder of configuration files
  --cfg              print the checked configuration and stop

Groups and values are Hydra overrides: +key=, ++key=, ~key, hydra/launcher=…, hydra.searchpath=[…] work.""",
    "evaluate": """mlfund evaluate run=FOLDER [split=val|test] [data.path=FILE] [checkpoint=best|last]

Measures a finished run, every metric with its 95 % confidence interval, on a split of its own data
(test unless told otherwise) or on a new file of the same kind. The last line is the result as JSON.""",
    "predict": """mlfund predict run=FOLDER data.path=FILE [output=predictions.parquet] [checkpoint=best|last]

Predicts every row of a new file, labels needed or not, and writes a table: Parquet or CSV by the name
of `output`. The last line is a summary as JSON, with what was unknown or missing in the file.""",
    "lr-find": """mlfund lr-find [--config-dir DIR] [group=option …] [key=value …]

The learning-rate range test, for what `mlfund train` would run with the same arguments: a model of its own takes a few
hundred steps at rates that grow from 1e-7 to 10. Says which rate to take and why, draws loss against rate into
<runs_dir>/lr_find/…, and ends in one line of JSON; its `override` is what to give to train.
`mlfund train … optim.lr=auto` does the same before it trains, and keeps the number in run.yaml.""",
    "list": """mlfund list [KIND] [--config-dir DIR]
mlfund list optims --memory

One line for each option: its name, the tasks that it fits, what it is and when to reach for it.
KIND is losses, models, data, tasks, optims, schedules, regularizations, trainers, callbacks, loggers,
experiments or debugs; all of them unless told otherwise.
--memory measures what each optimizer keeps beside the weights, in bytes per parameter.""",
}


def help_text(verb: str | None = None) -> str:
    """The help of a verb, or of the whole command."""
    if verb is not None:
        return _OF_VERB[verb]
    width = max(map(len, VERBS))
    return _TOP.format(verbs="\n".join(f"  {name:<{width}}  {told}" for name, told in VERBS.items()))
