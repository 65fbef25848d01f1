import { Gauge } from "prom-client";
import type { DatabaseReader, OperationalState } from "./database-reading.ts";
import type { Metrics } from "./metrics.ts";

type Values = readonly (readonly [labels: Record<string, string>, value: number])[];

interface Description {
  readonly help: string;
  readonly label?: string;
  /** The values; none if the metric does not apply. */
  readonly values: (state: OperationalState) => Values | number | undefined;
}

/** The largest of numbers that are none where there is nothing to measure. */
const largest = (numbers: readonly number[]) => Math.max(0, ...numbers);
const of = <T>(label: string, all: Readonly<Record<string, T>>, value: (each: T) => number | null): Values =>
  Object.entries(all).flatMap(([name, each]) => {
    const found = value(each);
    return found === null ? [] : [[{ [label]: name }, Number(found)] as const];
  });

/** Metrics of the database by their names, each with a rule that reads its values. */
const DESCRIPTIONS: Readonly<Record<string, Description>> = {
  plinth_queue_waiting_jobs: {
    help: "Jobs that wait or will be retried, by queue.",
    label: "queue",
    values: ({ queues }) => of("queue", queues, ({ waiting }) => waiting),
  },
  plinth_queue_active_jobs: {
    help: "Jobs that run now, by queue.",
    label: "queue",
    values: ({ queues }) => of("queue", queues, ({ active }) => active),
  },
  plinth_queue_oldest_seconds: {
    help: "Time since the oldest waiting job was due, by queue; 0 if none waits.",
    label: "queue",
    values: ({ queues }) => of("queue", queues, ({ oldest }) => Math.max(0, oldest ?? 0)),
  },
  plinth_job_last_success_timestamp_seconds: {
    help: "Time of the last success of a job in any process, by job; absent a week after it.",
    label: "job",
    values: ({ queues }) => of("job", queues, ({ succeeded }) => succeeded),
  },
  plinth_failed_jobs: {
    help: "Jobs that failed after all retries and wait for an operator, by job.",
    label: "job",
    values: ({ failed }) => of("job", failed, (jobs) => jobs),
  },
  plinth_mail_waiting_messages: {
    help: "Emails and text messages that wait to be sent.",
    values: ({ mail }) => mail.waiting,
  },
  plinth_mail_oldest_seconds: {
    help: "Age of the oldest email or text message that waits to be sent.",
    values: ({ mail }) => Number(mail.oldest),
  },
  plinth_payment_events_waiting: {
    help: "Events of the payment provider that are not processed.",
    values: ({ payment_events }) => payment_events.waiting,
  },
  plinth_payment_events_oldest_seconds: {
    help: "Age of the oldest event of the payment provider that is not processed.",
    values: ({ payment_events }) => Number(payment_events.oldest),
  },
  plinth_partitions_ahead_months: {
    help: "Number of consecutive future months that have a partition, by log; 12 at most.",
    label: "table",
    values: ({ partitions }) => of("table", partitions, (months) => months),
  },
  plinth_default_partition_rows: {
    help: "Rows in default partitions, because their month had none; 1,000 a log at most.",
    values: (state) => state.default_partition_rows,
  },
  plinth_migrations_applied: {
    help: "Number of migrations that the database has run.",
    values: ({ migrations }) => migrations,
  },
  plinth_database_size_bytes: { help: "Size of the database.", values: ({ database }) => database.bytes },
  plinth_database_transaction_id_age: {
    help: "Age of the oldest transaction id; PostgreSQL stops near 2,100,000,000.",
    values: ({ database }) => database.xid_age,
  },
  plinth_database_deadlocks: {
    help: "Deadlocks since the statistics of the database were reset.",
    values: ({ database }) => database.deadlocks,
  },
  plinth_database_temporary_bytes: {
    help: "Bytes written to temporary files since the statistics of the database were reset.",
    values: ({ database }) => database.temp_bytes,
  },
  plinth_database_connections: {
    help: "Connections to the database, of all programs.",
    values: ({ sessions }) => sessions.connections,
  },
  plinth_database_connections_limit: {
    help: "max_connections of the server.",
    values: (state) => state.connections_limit,
  },
  plinth_database_oldest_transaction_seconds: {
    help: "Age of the oldest open transaction that is visible (plinth_database_sees_all_sessions).",
    values: ({ sessions }) => Number(sessions.oldest_transaction),
  },
  plinth_database_idle_in_transaction: {
    help: "Visible sessions that hold a transaction open and do nothing.",
    values: ({ sessions }) => sessions.idle_in_transaction,
  },
  plinth_database_lock_waits: {
    help: "Visible sessions that wait for a lock.",
    values: ({ sessions }) => sessions.waiting_for_locks,
  },
  plinth_database_sees_all_sessions: {
    help: "1 if the owner has pg_read_all_stats, so that sessions and replicas of other roles are visible.",
    values: (state) => Number(state.sees_all_sessions),
  },
  plinth_database_in_recovery: {
    help: "1 on a standby, otherwise 0.",
    values: (state) => Number(state.in_recovery),
  },
  plinth_replay_lag_seconds: {
    help: "Replay lag of a standby; absent on a primary.",
    values: ({ replay_lag }) => replay_lag ?? undefined,
  },
  plinth_replicas: { help: "Visible connected replicas.", values: ({ replicas }) => replicas.length },
  plinth_replication_lag_bytes: {
    help: "WAL that the slowest visible replica has not replayed.",
    values: ({ replicas }) => largest(replicas.map(({ bytes }) => Number(bytes))),
  },
  plinth_replication_lag_seconds: {
    help: "Replay lag of the slowest visible replica.",
    values: ({ replicas }) => largest(replicas.map(({ seconds }) => Number(seconds))),
  },
  plinth_replication_slots_inactive: {
    help: "Replication slots without a connection; they hold WAL until the disk is full.",
    values: ({ slots }) => slots.inactive ?? 0,
  },
  plinth_replication_slot_wal_bytes: {
    help: "WAL that the furthest replication slot holds.",
    values: ({ slots }) => Number(slots.bytes ?? 0),
  },
  plinth_wal_archive_failing: {
    help: "1 if the last attempt to archive WAL failed, otherwise 0.",
    values: ({ archive }) => Number(archive.failing ?? false),
  },
};

/** Adds the metrics of the database. A scrape shows the last reading with its age. */
export function addDatabaseMetrics(
  { registry, sample }: Metrics,
  reader: Pick<DatabaseReader, "read">,
): void {
  const gauge = (name: string, help: string, label?: string) =>
    new Gauge({ name, help, labelNames: label ? [label] : [], registers: [registry] });
  const up = gauge("plinth_database_up", "1 if the last reading of the database succeeded, otherwise 0.");
  const age = gauge(
    "plinth_database_reading_age_seconds",
    "Age of the database's numbers in this scrape; absent before the first reading.",
  );
  const gauges = Object.entries(DESCRIPTIONS).map(([name, { help, label, values }]) => {
    const created = gauge(name, help, label);
    // Without labels, a reset gauge would show 0.
    const clear = () => (label === undefined ? created.remove() : created.reset());
    return { gauge: created, values, clear };
  });
  sample(async () => {
    const { state, ageSeconds, isUp } = await reader.read();
    up.set(Number(isUp));
    if (ageSeconds === undefined) age.remove();
    else age.set(ageSeconds);
    for (const { gauge, values, clear } of gauges) {
      clear();
      const found = state && values(state);
      if (typeof found === "number") gauge.set(found);
      else for (const [labels, value] of found ?? []) gauge.set(labels, value);
    }
  });
}
