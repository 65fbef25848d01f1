import { join } from "node:path";
import { type ArchiveErasures, eraseArchives } from "../archive/erase-archives.ts";
import type { ArchiveWriter } from "../archive/write-open-archives.ts";
import type { SigningKey } from "../auth/signing-keys.ts";
import { makeFolder, writeWhole } from "../support/files.ts";
import { type Certificate, signCertificate } from "./certificate.ts";
import { certificatesFolder } from "./certificate-files.ts";

export interface ErasureFinisher extends Omit<ArchiveWriter, "directory"> {
  /** Undefined if the settings name no folder: archives wait. */
  readonly directory: string | undefined;
  /** Undefined if the settings have no key for certificates: they wait. */
  readonly key: SigningKey | undefined;
  /** Undefined if Plinth makes no backups. */
  readonly backups: ErasureBackups | undefined;
}

export interface ErasureBackups {
  readonly folder: string;
  readonly keep: number;
  /** Returns when the backups that hold a row of this time are gone; undefined if no schedule tells. */
  readonly expireBy: (time: Date) => Date | undefined;
}

export interface FinishedErasures extends ArchiveErasures {
  readonly signed: number;
  /** Accounts and certificates that wait for a folder of archives or a key. */
  readonly waiting: number;
}

/** Erases deleted accounts from archives, then signs their certificates. A killed run loses nothing; the next one continues. */
export async function finishErasures(finisher: ErasureFinisher): Promise<FinishedErasures> {
  const { client, directory, key } = finisher;
  const erased =
    directory === undefined
      ? { accounts: 0, rows: 0, files: 0 }
      : await eraseArchives({ ...finisher, directory });
  const signed = key ? await signAll({ ...finisher, key }) : 0;
  const { rows } = await client.query<{ n: number }>(
    "select (select count(*) from private.pending_archive_erasures())::int + (select count(*) from private.unsigned_certificates())::int as n",
  );
  return { ...erased, signed, waiting: rows[0]!.n };
}

interface Unsigned {
  readonly id: string;
  readonly statement: string;
  readonly statement_sha256: string;
  readonly archived_rows: string | null;
  readonly erased_at: Date;
}

async function signAll({
  client,
  key,
  backups,
  signal,
}: ErasureFinisher & { readonly key: SigningKey }): Promise<number> {
  for (let signed = 0; ; ) {
    const { rows } = await client.query<Unsigned>("select * from private.unsigned_certificates()");
    if (rows.length === 0 || signal.aborted) return signed;
    for (const { id, statement, statement_sha256, archived_rows, erased_at } of rows) {
      const certificate: Certificate = {
        statement: JSON.parse(statement),
        statementSha256: statement_sha256,
        archivedRows: archived_rows === null ? null : Number(archived_rows),
        backups: backups
          ? { kept: backups.keep, expireBy: backups.expireBy(erased_at)?.toISOString() ?? null }
          : null,
      };
      const signature = signCertificate(certificate, key);
      if (backups) {
        const folder = certificatesFolder(backups.folder);
        makeFolder(folder);
        writeWhole(join(folder, `${id}.jws`), `${signature}\n`);
      }
      await client.query("select private.sign_certificate($1, $2)", [id, signature]);
      signed += 1;
    }
  }
}
