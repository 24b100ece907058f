"""Holds the help texts, printed before anything is imported."""

from __future__ import annotations

VERBS = {
    "train": "fit a model and measure its best checkpoint beside reference models; with -m a sweep",
    "evaluate": "measure a finished run on a split or on a new file",
    "predict": "predict the rows of a new file with a finished run",
    "doctor": "say again what is wrong with a finished run, or what is wrong with data",
    "runs": "list finished runs: what each was given, what came out, how it ended",
    "show": "say again what a run said, and how its configuration differs from the defaults",
    "compare": "set runs side by side: what differs, the metrics with paired differences, the curves",
    "leaderboard": "rank the runs of folders or of a sweep: a CSV file, and a page to sort, filter and look at",
    "decompose": "split the loss of a configuration into noise, bias and variance",
    "lr-find": "find the learning rate of a configuration: a number, the reason, a plot",
    "plan": "tell memory, traffic and time of a configuration on any number of devices",
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
mlfund train run=RUN [name=…] [runs_dir=…] [--trust PACKAGE]

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
  sweep=search       values that Optuna proposes: sweep.space={optim.lr: {low: 1e-4, high: 0.1, log: true}}
  --fresh            run all of a sweep; without it the same command runs what is missing or failed
  --dry-run          list the jobs of a sweep, and the time when one is done; nothing is written
  --config-dir DIR   a further folder of configuration files
  --cfg              print the checked configuration and stop

Groups and values are Hydra overrides: +key=, ++key=, ~key, hydra/launcher=…, hydra.searchpath=[…] work.""",
    "evaluate": """mlfund evaluate [run=]RUN [split=val|test] [data.path=FILE] [checkpoint=best|last] [--trust PACKAGE]

Measures a finished run, every metric with its 95 % confidence interval, on a split of its own data
(test by default) or on a new file of the same kind: a table, or JSON into a pipe and with --json.
--trust PACKAGE imports a package of others that the run names; a run is not believed otherwise.""",
    "predict": """mlfund predict [run=]RUN data.path=FILE [output=predictions.parquet] [checkpoint=best|last]
               [--trust PACKAGE]

Predicts every row of a new file, with or without labels, and writes a table: Parquet or CSV by the suffix
of `output`. Shows the first rows and what was unknown or missing; into a pipe, or with --json, as JSON.
--trust PACKAGE imports a package of others that the run names; a run is not believed otherwise.""",
    "doctor": """mlfund doctor [run=]RUN [verify=true] [--trust PACKAGE]
mlfund doctor [--config-dir DIR] task=… data=… [key=value …]

With a run, derives the findings of a run anew from its evidence.json: what is wrong, how sure that is, what to change.
With the arguments of train, looks at the data before training: shifts between the splits, leaks, copies, wrong labels.
verify=true trains the run again with the first fix, on the same rows and with the same seed; the finding is closed if
that is better on the validation rows beyond its paired 95 % interval.
Nothing is written. Into a pipe, or with --json, JSON; docs/doctor.md explains each finding.""",
    "runs": """mlfund runs [FOLDER] [task=…] [sort=test/auroc] [last=20] [over=seed]

Lists the runs in a folder (runs by default) and below it, the newest first: what each was given, the objective, the
test value with its interval, seconds, findings and status.

  task=…       only the runs of this task
  sort=…       time, seconds, objective or its name (val/auroc), test/<metric>: the best first
  last=20      how many of them; all for all
  over=seed    one row for runs that were given the same but for this key (or keys, with commas): means ± deviation

Wherever a run is asked for (run=, or the first word of evaluate, predict and doctor), a name does: latest, latest-2
(the second before it), a piece of a name that only one run has, sweep-name/3 (job 3 of a sweep), or any of these
behind a folder: old_runs/latest.""",
    "show": """mlfund show RUN

Says again what a run said (data, results, findings), and lists the values of its configuration that are not the
defaults of the options that it was given. RUN is a run folder or a name: latest, latest-2, a piece of a name,
sweep-name/3. The last line is its result.json, with what was given and the configuration.""",
    "compare": """mlfund compare RUN RUN … [over=seed] [output=compare.html]

Sets runs side by side: overrides, configuration, data and versions that differ, then the metrics of the test split.
Where two runs were measured on the same test rows, the difference to the first run has its *paired* bootstrap interval
and is called better or worse if that excludes 0; else it says "other rows". The page has the learning curves, too.

  RUN          a run folder or a name: latest, latest-2, a piece of a name, sweep-name/3
  over=seed    join runs that were given the same but for this key: means ± deviation, differences paired over it
  output=…     where the page is written""",
    "leaderboard": """mlfund leaderboard [FOLDER …] [task=…] [sort=test/auroc] [output=leaderboard.html]

Ranks all runs in folders (runs by default), or of a sweep, by the objective or another value. Writes a page in one
file (a table to sort and filter, each setting against the value, parallel coordinates, the importance of each
setting, the learning curves of the best) and beside it the same table as CSV.

  FOLDER       a folder with runs, the folder of a sweep, or a piece of a sweep's name
  task=…       only the runs of this task
  sort=…       objective, its name (val/auroc), test/<metric> or seconds: the best first""",
    "decompose": """mlfund decompose [--config-dir DIR] [group=option …] [key=value …] [decompose.replicas=30]
mlfund decompose … decompose.sweep=KEY KEY=VALUE,VALUE,…

Trains replicas of what `mlfund train` would train with the same arguments, each part of the training rows in turn,
and splits the expected loss on the test rows: noise, bias, variance by training rows and by initialisation, with 95 %
intervals. Small networks are trained together. Draws the parts, also for each value of one key, into
<runs_dir>/decompositions/… and ends with one line of JSON (docs/decomposition.md).

  decompose.replicas=30         disjoint parts of the training rows: each has 1/30 of them
  decompose.initialisations=2   trainings on each part; 1 does not tell initialisation from rows
  decompose.noise=0.09          where known: variance of the target's noise, or share of flipped binary labels
  decompose.sweep=model.hidden  decompose for each value of this key: model.hidden=[4],[64],[1024]""",
    "lr-find": """mlfund lr-find [--config-dir DIR] [group=option …] [key=value …]

Runs the learning-rate range test for what `mlfund train` would run with the same arguments: a fresh model takes a few
hundred steps at rates that grow from 1e-7 to 10. Reports which rate to use and why, plots loss against rate into
<runs_dir>/lr_find/…; pass the `override` to train. Into a pipe, or with --json, the result is one line of JSON.
`mlfund train … optim.lr=auto` does the same before it trains, and stores the number in run.yaml.""",
    "plan": """mlfund plan [--config-dir DIR] [group=option …] [key=value …]

Tells what `mlfund train` would take with the same arguments, before it is started: bytes on each device, bytes on the
wire, FLOPs, seconds of a step, hours, and what to change where it does not fit. One step is traced with shapes alone,
so any number of devices can be planned on a laptop: trainer=fsdp trainer.devices=8 trainer.num_nodes=32.

  plan.device=h100       h200, a100, l4, cpu, or {memory_gb:80,tflops:989,bandwidth:3350,interconnect:450}
  plan.vocabulary=32000  data=text_lm without a text: windows of data.length tokens
  plan.rows=1e6          training rows, for the hours, where data.path holds some of them only
  plan.efficiency=0.5    share of the device's peak rates that is reached

The last line is the plan as JSON. docs/planning.md says what is not modelled.""",
    "list": """mlfund list [KIND] [--config-dir DIR]
mlfund list optims --memory

Prints one line for each option: its name, the tasks that it fits, what it is and when to use it.
KIND is losses, models, data, tasks, optims, schedules, embeddings, regularizations, trainers, callbacks,
loggers, doctors, sweeps, plans, decompositions, experiments or debugs; all of them by default.
--memory measures the state that each optimizer keeps beside the weights, in bytes per parameter.""",
}


def help_text(verb: str | None = None) -> str:
    """Return the help of a verb, or of the whole command."""
    if verb is not None:
        return _BY_VERB[verb]
    width = max(map(len, VERBS))
    return _TOP.format(verbs="\n".join(f"  {name:<{width}}  {summary}" for name, summary in VERBS.items()))
