import { type CheckGroup, fail, ok, skipped, warn } from "./check.ts";

/** Checks whether memories are recalled by meaning as the settings say, and whether their vectors are made. */
export const checkMemories: CheckGroup = async ({ client, config, role }) => {
  const check = "memory-vectors";
  const { rows } = await client.query<{ enabled: boolean }>(
    "select exists (select from pg_tables where schemaname = 'private' and tablename = 'memory_embeddings') as enabled",
  );
  const { enabled } = rows[0]!;
  const { embeddings } = config;
  if (!enabled)
    return embeddings
      ? [
          warn(
            check,
            "PLINTH_EMBEDDINGS_URL is set, but vectors of memories are not enabled.",
            "Run plinth memory enable-vectors, or remove the setting; until then, memories are recalled by words.",
          ),
        ]
      : [ok(check, "Memories are recalled by words; vectors are not enabled.")];
  if (role !== "owner")
    return [skipped(check, "Only the owner can read the state of the vectors (PLINTH_OWNER_URL).")];
  if (!embeddings)
    return [
      warn(
        check,
        "Vectors of memories are enabled, but PLINTH_EMBEDDINGS_URL is not set here.",
        "Set it for the servers and the worker, or run plinth memory disable-vectors.",
      ),
    ];
  const { rows: failures } = await client.query<{ error: string; count: number }>(
    `select last_error as error, count(*)::integer as count
     from private.memory_embeddings
     where model is null and attempts > 0
     group by 1
     order by 2 desc
     limit 10`,
  );
  if (failures.length > 0)
    return [
      fail(
        check,
        "Vectors of some memories cannot be made; the job keeps retrying.",
        "Check PLINTH_EMBEDDINGS_URL and PLINTH_EMBEDDINGS_KEY where plinth work (or plinth start) runs.",
        failures.map(({ error, count }) => `${count} memories: ${error}`),
      ),
    ];
  const { rows: late } = await client.query<{ count: number }>(
    `select count(*)::integer as count
     from private.memory_embeddings
     where model is null and next_attempt_at < now() - interval '1 hour'`,
  );
  if (late[0]!.count > 0)
    return [
      warn(
        check,
        `${late[0]!.count} memories have waited for their vector for more than an hour.`,
        "Keep plinth work (or plinth start) running, with PLINTH_EMBEDDINGS_URL and PLINTH_MASTER_KEYS.",
      ),
    ];
  return [ok(check, "Memories are recalled by words and by meaning.")];
};
