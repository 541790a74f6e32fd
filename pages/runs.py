"""Runs: what you tried, and what it bought."""

import streamlit as st

from dashboard.components import choose, finding, page_link
from dashboard.run_actions import actions, export_run, free_disk, import_run
from dashboard.run_choice import follow_rename, narrowed, show_table
from dashboard.run_comparison import show_comparison, show_seeds
from dashboard.run_table import NOISE, column_config, example, finding_sentence, in_order, read_rows
from fer_core.training.seeds import seed_groups
from fer_core.workspace import Workspace

rows = read_rows(Workspace.default())
if not rows:
    finding("No run yet. Each will be one row, like this example.")
    st.dataframe(example(), hide_index=True, column_config=column_config(["example"]), alt="An example row, not a run")
    with st.container(horizontal=True, vertical_alignment="center"):
        page_link("train", "Start training")
        import_run()
else:
    names = [row.name for row in rows]
    follow_rename(names)
    head = st.container()
    matches, order = narrowed(rows)
    with head:
        finding(finding_sentence(matches) if matches else f"None of {len(rows):,} runs matches the filter.")
    compared = show_table(in_order(matches, order), names)
    show_seeds(seed_groups(row.facts for row in matches))
    if not matches:
        st.stop()  # nothing is done to a run that is not shown
    if not any(row.baseline for row in rows):
        st.caption(f"Choose a baseline to see what each run gained on it, and what is {NOISE}.")
    name = choose("Run", names, key="run")
    actions(rows[names.index(name)])
    if compared:
        groups = seed_groups(row.facts for row in rows)
        baseline = rows[0].name if rows[0].baseline else ""
        show_comparison([row for row in rows if row.name in compared], groups, baseline)
    with st.container(horizontal=True):
        free_disk(rows)
        export_run(rows[names.index(name)])
        import_run()
