"""What `--help` says: every verb in a line, and how it is used, with examples.

Data alone, so that asking for help costs nothing. What a verb takes is in `arguments`.
"""

DESCRIPTION = "Search over train.py on a cluster: hypotheses in waves, results that can be trusted."

HIDDEN = "complete"  # for completion scripts

# Every verb for people, with its line in the list.
VERBS = {
    "prepare": "make token files of text, once per task",
    "probe": "write a Slurm site's settings from what it says of itself",
    "doctor": "find out whether a campaign would work here",
    "run": "start a campaign",
    "resume": "go on with a campaign, with more budget if given",
    "step": "look in on a campaign, do what is due and leave: for cron",
    "stop": "end a campaign; it can be resumed",
    "replay": "run one experiment again, from the record",
    "promote": "test a candidate against the champion next",
    "wave": "propose experiments of your own, or an agent's",
    "sync": "send runs to W&B from the login node, and compare",
    "status": "where a campaign stands",
    "show": "everything about one experiment",
    "diff": "how two programs differ",
    "source": "print a candidate's train.py",
    "effects": "what each parameter does, by the results so far",
    "notebook": "what was learned, wave by wave",
    "report": "write report/ and show the result",
    "verify": "check a whole campaign again, from its own record",
    "completion": "print a shell's completion script",
}

# The words that follow `wave`.
WAVE = {
    "template": "print a wave to start from, with this campaign's own names and values",
    "submit": "check a wave and hand it to the controller",
    "done": "say that nothing more comes: planner=external ends its search",
}

NAME_HELP = "the start of an experiment's id or a candidate's key; `champion`; `baseline`"

JSON_HELP = "print one JSON object; all else goes to stderr"

HELP = {
    "prepare": """\
Make the token files a task trains and is scored on: text is fetched or read, a tokenizer trained.
Done once; a second time it finds everything there. What was cut short is finished. Settings of
task.data may be written without their prefix.

  autoresearch prepare task=tiny                     Python's own text: enough to try things out
  autoresearch prepare task=climbmix                 the seed's text, from the Hugging Face hub
  autoresearch prepare task=gpt source=hf dataset=OWNER/NAME shards=20
  autoresearch prepare task=gpt source=files 'files=[notes/,corpus.jsonl]'
  autoresearch prepare task=climbmix cluster=mysite workers=16 --slurm
""",
    "probe": """\
Write conf/cluster/NAME.yaml from what Slurm says of this site: partitions, GPUs, accounts, limits.
Read it before you use it; NAME is the cluster's own unless you give one.

  autoresearch probe
  autoresearch probe mysite --print
""",
    "doctor": """\
Find out whether a campaign would work: checks here first, then a tiny job in every partition of
every tier. Exit code 1 if something is found that a campaign would fail by.

  autoresearch doctor
  autoresearch doctor cluster=mysite task=gpt
""",
    "run": """\
Start a campaign. Settings come from conf/ and from Hydra overrides:

  autoresearch run                                     the default task and planner
  autoresearch run planner=greedy budget.experiments=40
  autoresearch run task.params.depth=4                 fixed for every candidate
  autoresearch run task.params.matrix_lr='tag(log, interval(0.01, 0.1))'
  autoresearch run '~search.space.weight_decay'        not searched
  autoresearch run --cfg job                           print the settings and stop

Ctrl-C once: finish what runs and start nothing. Twice: end at once; nothing is lost either way.
""",
    "resume": """\
Go on with a campaign that was stopped, killed, or has ended; with settings amended if given.

  autoresearch resume campaigns/tiny
  autoresearch resume campaigns/tiny budget.experiments=80
""",
    "step": """\
Look in on a campaign: do what is due and leave, in seconds. For cron or scrontab, where no process
may stay; pilots work on through the queue in between. `run --leave` begins such a campaign.

  autoresearch step campaigns/tiny
  */5 * * * *  autoresearch step /path/to/campaigns/tiny
""",
    "stop": """\
End a campaign from another terminal: what runs is finished, unless --now, and nothing is started.
Nothing is lost either way: resume goes on.

  autoresearch stop campaigns/tiny
""",
    "replay": """\
Run one experiment again with the recorded program, settings and seed, and compare the scores. The
record does not change. --score-only trains nothing and scores the weights that were kept
(task.keep_checkpoint) by new draws of the referee.

  autoresearch replay campaigns/tiny 3f9c
  autoresearch replay campaigns/tiny champion
""",
    "promote": """\
Have a candidate tested against the champion next, however it did in screening.

  autoresearch promote campaigns/tiny 3f9c
""",
    "wave": """\
Propose experiments yourself, or have an agent propose them, beside the campaign's planner or
instead of it (planner=external). The referee scores them and the judge decides, as for everybody.

  autoresearch wave template campaigns/tiny
  autoresearch wave submit campaigns/tiny wave.json
  autoresearch wave done campaigns/tiny
""",
    "wave template": """\
Print a wave in JSON to start from: the champion's parameters, each with a value inside its domain,
and an edit of its train.py. docs/formats.md explains every key. Of each experiment:

  parent       whose program it is: `champion`, `baseline`, or an experiment or a candidate
  also         a second parent, whose win this one combines with the first one's
  overrides    values of parameters, inside their domains; all others are the parent's
  edits        [{"search": exact text, once in the program, "replace": new text}], or `source`: a
               whole train.py. Neither: the parent's program as it is
  space        domains of new Config fields: {"low": 0.1, "high": 1, "log": true}, {"values": [1]}
  description  what is changed, in a few words; the commit's message if there are edits
  expected     the change in bits per byte that you hope for; below 0 is better
  promote      true: it meets the champion in a crown test, however it does in screening

  autoresearch wave template campaigns/tiny
""",
    "wave submit": """\
Check a wave and hand it to the controller, which takes it in at its next turn. Every problem is
told at once, a line each. The same wave twice is one wave. --check only checks.

  autoresearch wave submit campaigns/tiny wave.json --check
  autoresearch wave submit campaigns/tiny wave.json
  autoresearch wave submit campaigns/tiny -            from standard input
""",
    "wave done": """\
Say that no more waves come from outside. planner=external then ends its search: last crown tests,
then the certification.

  autoresearch wave done campaigns/tiny
""",
    "sync": """\
Have W&B hold every run of a campaign, from where there is internet: runs that nodes could not send
are sent, those that are being made are followed to their end; what W&B lacks, or has otherwise than
the record, is sent again. May be interrupted at any time.

  autoresearch sync campaigns/tiny
""",
    "status": """\
Where a campaign stands: champion, noise, budget, what runs, who looks after it.

  autoresearch status campaigns/tiny
  autoresearch status campaigns/tiny --json
""",
    "show": """\
Everything about one experiment, from the question to the result and the end of what it printed.

  autoresearch show campaigns/tiny 3f9c
  autoresearch show campaigns/tiny champion
""",
    "diff": """\
How candidate A's program differs from B's, overrides written in. Left out, B is A's parent.

  autoresearch diff campaigns/tiny champion baseline
  autoresearch diff campaigns/tiny 3f9c
""",
    "source": """\
Print a candidate's train.py, overrides written in. Without a name, the champion's.

  autoresearch source campaigns/tiny
  autoresearch source campaigns/tiny 3f9c -o train.py
""",
    "effects": """\
What each parameter does to the score, and which depend on each other, from all candidates whose
programs differ in nothing but parameters.

  autoresearch effects campaigns/tiny
  autoresearch effects campaigns/tiny --program 3f9c
""",
    "notebook": """\
What was learned, wave by wave, the newest last; with --add, write something down. It is in the
prompt of every wave that Claude writes, and part of the record.

  autoresearch notebook campaigns/tiny
  autoresearch notebook campaigns/tiny --add 'Width pays off only with a smaller learning rate.'
""",
    "report": """\
Write report/ (results.tsv, progress.png) and show the result. With --wandb also a report at W&B,
made the first time and brought up to date from then on, at the same URL; its runs must be there.

  autoresearch report campaigns/tiny
  autoresearch report campaigns/tiny --wandb
""",
    "verify": """\
Check a campaign for somebody who does not believe it: that every program, result and line of the
journal is what its hash says, that the results are possible, and that crowns and certificates
follow from them. Reads only, also while the campaign runs. Exit code 1 if anything is wrong.

  autoresearch verify campaigns/tiny
  autoresearch verify campaigns/tiny --json
""",
}
