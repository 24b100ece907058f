"""Holds the help texts, printed before anything is imported."""

from __future__ import annotations

VERBS = {
    "train": "fit a model and measure its best checkpoint beside reference models; with -m a sweep",
    "evaluate": "measure a finished run on a split or on a new file",
    "predict": "predict the rows of a new file with a finished run",
    "doctor": "say again what is wrong with a finished run, from its evidence",
    "lr-find": "find the learning rate of a configuration: a number, the reason, a plot",
    "list": "list the options to choose from: losses, models, data, … one line each",
}

_TOP = """mlfund VERB [key=value …]

{verbs}

  mlfund train task=binary                       a complete run on data that ship with the package
  mlfund train task=ranking loss=listnet optim.lr=3e-4
  mlfund train -m task=regression loss=mse,huber seed=0,1,2
  mlfund train data=table data.path=x.parquet data.target=y task=regression
  mlfund list losses

mlfund VERB --help explains a verb; mlfund --version prints the version.
A terminal shows tables. Into a pipe or a file, or with --json, standard output is the result as JSON alone,
and all else goes to standard error. -q, --quiet leaves the result; -v, --verbose adds what Lightning says.
Exit codes: 0 done; 2 the input is wrong; 3 training failed; 1 crashed, 130 stopped by Ctrl-C,
143 by a scheduler (these three resumable).
Environment: OMP_NUM_THREADS (default 1, best for small models), NO_COLOR, MLFUND_TRACEBACK=1."""

_BY_VERB = {
    "train": """mlfund train [-m] [--config-dir DIR] [--cfg] [group=option …] [key=value …]
mlfund train run=FOLDER [name=…] [runs_dir=…] [--trust PACKAGE]

Composes a configuration, checks all of it, writes it to <runs_dir>/<task>/<time>-<name>-…/run.yaml and
executes that file. Into a pipe, or with --json, the result is one line of JSON; -q leaves the result, -v says more.

  task=…             binary, multiclass, regression, ranking or retrieval; alone a complete run
  loss= optim= schedule= regularization= model= data= trainer= callbacks= logger= experiment= debug=
                     choose another option for one part; `mlfund list` shows them
  loss.delta=2       set a value; a name that does not exist is an error that suggests a similar one
  run=FOLDER         resume the interrupted run in this folder, or repeat a finished one in a new folder
  --trust PACKAGE    with run=: import this package of others, which the run names; may be given again

  -m, --multirun     run all combinations of values with commas: loss=mse,mae seed=0,1,2; sweep=stacked
                     trains seeds and rates of one small model together
  sweep=lr           spend sweep.minutes=10 on tuning the learning rate alone
  --config-dir DIR   a further folder of configuration files
  --cfg              print the checked configuration and stop

Groups and values are Hydra overrides: +key=, ++key=, ~key, hydra/launcher=…, hydra.searchpath=[…] work.""",
    "evaluate": """mlfund evaluate run=FOLDER [split=val|test] [data.path=FILE] [checkpoint=best|last] [--trust PACKAGE]

Measures a finished run, every metric with its 95 % confidence interval, on a split of its own data
(test by default) or on a new file of the same kind: a table, or JSON into a pipe and with --json.
--trust PACKAGE imports a package of others that the run names; a run is not believed otherwise.""",
    "predict": """mlfund predict run=FOLDER data.path=FILE [output=predictions.parquet] [checkpoint=best|last]
               [--trust PACKAGE]

Predicts every row of a new file, with or without labels, and writes a table: Parquet or CSV by the suffix
of `output`. Shows the first rows and what was unknown or missing; into a pipe, or with --json, as JSON.
--trust PACKAGE imports a package of others that the run names; a run is not believed otherwise.""",
    "doctor": """mlfund doctor run=FOLDER

Derives the findings of a run anew from its evidence.json: what is wrong, how sure that is, what to change.
Nothing is trained and nothing written. Into a pipe, or with --json, JSON; docs/doctor.md explains each finding.""",
    "lr-find": """mlfund lr-find [--config-dir DIR] [group=option …] [key=value …]

Runs the learning-rate range test for what `mlfund train` would run with the same arguments: a fresh model takes a few
hundred steps at rates that grow from 1e-7 to 10. Reports which rate to use and why, plots loss against rate into
<runs_dir>/lr_find/…; pass the `override` to train. Into a pipe, or with --json, the result is one line of JSON.
`mlfund train … optim.lr=auto` does the same before it trains, and stores the number in run.yaml.""",
    "list": """mlfund list [KIND] [--config-dir DIR]
mlfund list optims --memory

Prints one line for each option: its name, the tasks that it fits, what it is and when to use it.
KIND is losses, models, data, tasks, optims, schedules, embeddings, regularizations, trainers, callbacks,
loggers, doctors, sweeps, experiments or debugs; all of them by default.
--memory measures the state that each optimizer keeps beside the weights, in bytes per parameter.""",
}


def help_text(verb: str | None = None) -> str:
    """Return the help of a verb, or of the whole command."""
    if verb is not None:
        return _BY_VERB[verb]
    width = max(map(len, VERBS))
    return _TOP.format(verbs="\n".join(f"  {name:<{width}}  {summary}" for name, summary in VERBS.items()))
