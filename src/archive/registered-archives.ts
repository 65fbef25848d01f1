import type pg from "pg";

/** A month that left its log. */
export interface RegisteredArchive {
  readonly id: string;
  readonly log: string;
  /** Such as 2024-02. */
  readonly month: string;
  readonly state: "detached" | "archived" | "attached" | "dropped";
  readonly rows: number | null;
  readonly firstAt: Date | null;
  readonly lastAt: Date | null;
  readonly fileName: string | null;
  readonly fileBytes: number | null;
  readonly sha256: string | null;
  readonly isEncrypted: boolean | null;
  readonly migration: string | null;
}

/** @param client a connection as the owner */
export async function listArchives(client: pg.Client): Promise<RegisteredArchive[]> {
  const { rows } = await client.query<RegisteredArchive>(
    `select
       id, log, to_char(month, 'YYYY-MM') as month, state, row_count::float8 as rows, first_at as "firstAt",
       last_at as "lastAt", file_name as "fileName", file_bytes::float8 as "fileBytes", sha256,
       is_encrypted as "isEncrypted", migration
     from security.archives
     order by log, month, id`,
  );
  return rows;
}
