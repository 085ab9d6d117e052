"""Insights: the provenance of one computed insight, as document 1 (intelligence provenance) has it.

`context` writes, `service` reads, `records` holds the words of the document and turns the rows of a
run into them, `search` turns a query into what stores are asked. There is no storage here: a
provenance record **is** one run, and any run can be read as one.

| in document 1 | in whence |
|---|---|
| provenance record | a run of kind `insight`; asked for by its id, any run |
| `provenance_id` | the run's `external_id`; its id where it has none |
| `worker_name` | the run's `name` |
| `execution_id` | the run's `workflow` |
| `insight_type`, `category_key`, `algorithm_version` | attributes of the run by these names |
| `computed_at`, `computation_duration_ms` | the run's `started_ns` and `duration_ms` |
| data source | a source: `quality_score` is its `quality`, `freshness_seconds` its `freshness_s` |
| reasoning step | a span of kind `step`: attributes `step_number`, `description`, `parameters` |
| decision factor | a factor |
| `insight_id`, `insight_summary`, `insight_value` | an output of kind `insight` |
| `confidence_score`, `quality_score` | that output's `confidence` and `quality` |
| validation | that output's `validation`: `passed`, `errors` |
| metadata | the attribute `metadata` of that output |
| tags | the run's tags |
| raised | the run's status `failed` and its error |

The run also has a score `quality` and a score `validation` about the output, where they were
stated, so that analyses of the core see them. The attribute `dialect` says who wrote the run;
nothing that reads asks for it. The attributes of the run hold few different values (what is one
record's own stands in its output, its model call or its sources), because counts by type and by
category are taken from them.
"""
