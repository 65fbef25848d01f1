import { type CheckGroup, type Finding, ok, skipped, warn } from "./check.ts";

/** Share of max_connections from which new connections may soon fail. */
const MANY_CONNECTIONS = 0.8;

interface Sessions {
  connections: number;
  connections_limit: number;
  /** Connections that ordinary roles cannot use. */
  reserved: number;
  database_limit: number;
  database_connections: number;
  hidden: number;
  idle: string[];
  long: string[];
  waiting: string[];
  prepared: string[];
  synchronous_names: string;
  synchronous_replicas: number;
}

/**
 * Checks what the sessions of all programs do: too many connections, transactions that stay open, and locks. Sessions of other roles
 * are visible only with pg_read_all_stats.
 */
export const checkSessions: CheckGroup = async ({ client, config }) => {
  const { rows } = await client.query<Sessions>(
    `with sessions as (
       select
         a.*,
         format('process %s of %s (%s)', a.pid, a.usename, a.application_name) as name
       from pg_stat_activity a
       where a.backend_type = 'client backend' and a.pid <> pg_backend_pid()
     )
     select
       (select count(*)::integer from sessions) as connections,
       current_setting('max_connections')::integer as connections_limit,
       current_setting('superuser_reserved_connections')::integer
         + coalesce(current_setting('reserved_connections', true)::integer, 0) as reserved,
       (select datconnlimit from pg_database where datname = current_database()) as database_limit,
       (select count(*)::integer from sessions where datname = current_database()) as database_connections,
       (select count(*)::integer from sessions where datname = current_database() and state is null) as hidden,
       array(
         select name from sessions
         where datname = current_database() and state like 'idle in transaction%' and state_change < now() - interval '5 minutes'
         order by state_change limit 20
       ) as idle,
       array(
         select name from sessions
         where datname = current_database() and state = 'active' and xact_start < now() - interval '1 hour'
         order by xact_start limit 20
       ) as long,
       array(
         select name || ', blocked by ' || array_to_string(pg_blocking_pids(pid), ', ') from sessions
         where datname = current_database() and wait_event_type = 'Lock' and query_start < now() - interval '1 minute'
         order by query_start limit 20
       ) as waiting,
       array(
         select gid from pg_prepared_xacts
         where database = current_database() and prepared < now() - interval '1 hour'
         order by prepared limit 20
       ) as prepared,
       current_setting('synchronous_standby_names') as synchronous_names,
       (select count(*)::integer from pg_stat_replication where sync_state in ('sync', 'quorum')) as synchronous_replicas`,
  );
  const sessions = rows[0]!;
  return [
    checkLimit(sessions),
    checkPoolSize(sessions, config.pool.max + config.pool.overflow),
    listed("idle-transactions", sessions.idle, {
      fine: "No session holds a transaction open without using it.",
      message: "Some sessions have held a transaction open for more than 5 minutes without using it.",
      hint: "End them with pg_terminate_backend(process), and correct the program: its locks stay, and vacuum cannot clean up.",
    }),
    listed("long-transactions", sessions.long, {
      fine: "No transaction runs for more than an hour.",
      message: "Some transactions have run for more than an hour.",
      hint: "End them with pg_cancel_backend(process), or run them on a replica; until then vacuum cannot clean up.",
    }),
    listed("lock-waits", sessions.waiting, {
      fine: "No session waits long for a lock.",
      message: "Some sessions have waited for a lock for more than a minute.",
      hint: "End the session that blocks them with pg_terminate_backend(process).",
    }),
    listed("prepared-transactions", sessions.prepared, {
      fine: "No prepared transaction is left.",
      message: "Some prepared transactions are left; they hold locks and stop vacuum, also after a restart.",
      hint: "Run COMMIT PREPARED or ROLLBACK PREPARED with each name. Plinth prepares none.",
    }),
    ...checkSynchronous(sessions),
    ...(sessions.hidden > 0
      ? [
          skipped(
            "hidden-sessions",
            `${sessions.hidden} sessions of other roles cannot be examined; grant pg_read_all_stats to this role to include them.`,
          ),
        ]
      : []),
  ];
};

function checkLimit(sessions: Sessions): Finding {
  const check = "connections";
  const { connections, connections_limit, reserved, database_limit, database_connections } = sessions;
  const usable = connections_limit - reserved;
  const used = `${connections} of ${usable} connections are in use.`;
  if (database_limit >= 0 && database_connections >= database_limit * MANY_CONNECTIONS)
    return warn(
      check,
      `The database has ${database_connections} of ${database_limit} connections that it may have.`,
      "Raise its limit: alter database … connection limit -1.",
    );
  return connections >= usable * MANY_CONNECTIONS
    ? warn(check, used, "Raise max_connections, lower PLINTH_POOL_MAX, or use a pooler.")
    : ok(check, used);
}

/** A server uses the pool of the API, a quarter of it for the service, and a few connections for listening. */
function checkPoolSize({ connections_limit, reserved }: Sessions, max: number): Finding {
  const check = "pool-size";
  const wanted = max + Math.max(2, Math.ceil(max / 4)) + 5;
  const usable = connections_limit - reserved;
  return wanted <= usable
    ? ok(check, `A server opens at most ${wanted} of ${usable} connections.`)
    : warn(
        check,
        `A server may open ${wanted} connections, but the database allows ${usable}.`,
        "Lower PLINTH_POOL_MAX and PLINTH_POOL_OVERFLOW, or raise max_connections.",
      );
}

function listed(
  check: string,
  details: readonly string[],
  { fine, message, hint }: { readonly fine: string; readonly message: string; readonly hint: string },
): Finding {
  return details.length === 0 ? ok(check, fine) : warn(check, message, hint, details);
}

/** Every commit waits for a synchronous replica, for as long as there is none. */
function checkSynchronous({ synchronous_names, synchronous_replicas }: Sessions): Finding[] {
  if (synchronous_names === "") return [];
  const check = "synchronous-replication";
  return [
    synchronous_replicas > 0
      ? ok(check, `${synchronous_replicas} synchronous replicas are connected.`)
      : warn(
          check,
          "synchronous_standby_names is set, but no synchronous replica is visible: commits may wait forever.",
          "Start the replica, or set synchronous_standby_names to an empty text and reload the server.",
        ),
  ];
}
