--! Previous: sha1:e8df4a1accf72595c0d21d161b610a874f7ef123
--! Hash: sha1:daf51de1d6c0226ff59813ef55a6ea2688a58c62
--! Message: persisted documents

-- Documents that an operator added (plinth documents add). No policy and no grant: the owner writes, servers read through
-- private.list_persisted_documents.
create table private.persisted_documents (
  hash text primary key,
  document text not null,
  added_at timestamptz not null default now(),
  constraint persisted_documents_document_check check (length(document) between 1 and 1000000),
  -- Otherwise a hash could stand for another text than the one that clients know it for.
  constraint persisted_documents_hash_is_sha256 check (hash = encode(sha256(convert_to(document, 'UTF8')), 'hex'))
);

alter table private.persisted_documents enable row level security;

comment on table private.persisted_documents is
  'One row per GraphQL document that clients may name by its hash. Not readable by any API role.';
comment on column private.persisted_documents.hash is 'SHA-256 of the document in lowercase hexadecimal digits.';
comment on column private.persisted_documents.document is 'Text of the document, exactly as hashed; at most 1,000,000 characters.';
comment on column private.persisted_documents.added_at is 'Time when the document was first added.';

--! Included plinth/private/list_persisted_documents.sql
-- A server reads these at start and at each announcement. It names the documents that it has, so that an addition does not send
-- all texts to every server again.
create or replace function private.list_persisted_documents(known text[] default '{}')
  returns table (hash text, document text)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select d.hash, case when k.hash is null then d.document end
  from private.persisted_documents d
  left join unnest(list_persisted_documents.known) k (hash) on k.hash = d.hash
$$;

comment on function private.list_persisted_documents(text[]) is
  'Returns every added document; the text is null for the hashes in known.';
grant execute on function private.list_persisted_documents(text[]) to :PLINTH_SERVICE;
--! EndIncluded plinth/private/list_persisted_documents.sql
--! Included plinth/triggers/persisted_documents.sql
-- The announcement only prompts a read with private.list_persisted_documents, which only the service may call.
create or replace function private.announce_persisted_documents()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform plinth.announce('documents', 0);
  return null;
end
$$;

comment on function private.announce_persisted_documents() is
  'Trigger: tells every server that documents were added or removed.';

create or replace trigger _900_announce
  after insert or update or delete or truncate on private.persisted_documents
  for each statement
  execute function private.announce_persisted_documents();
--! EndIncluded plinth/triggers/persisted_documents.sql
