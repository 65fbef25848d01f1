-- `app` is in the API; `app_private` is for jobs and triggers.
create schema app;
create schema app_private;
grant usage on schema app to :PLINTH_USER;
grant usage on schema app_private to :PLINTH_WORKER;

create table app.notes (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
  body text not null constraint notes_body_check check (length(body) between 1 and 10000),
  expires_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

-- A user's notes, newest first; also serves the foreign key.
create index notes_user_id_id_idx on app.notes (user_id, id desc);
create index notes_expires_at_idx on app.notes (expires_at) where expires_at is not null;

comment on table app.notes is 'One row per note of a user.';
comment on column app.notes.id is E'@personalData pseudonym\nId (UUIDv7).';
comment on column app.notes.user_id is E'@personalData pseudonym\nThe author of the note.';
comment on column app.notes.body is E'@personalData content\nText, 1 to 10,000 characters.';
comment on column app.notes.expires_at is E'@personalData pseudonym\nTime when the note is deleted; null for a note that stays.';
comment on column app.notes.created_at is E'@personalData pseudonym\nTime when the note was created.';
comment on column app.notes.updated_at is E'@personalData pseudonym\nTime of the last change.';

--!include app/policies/notes.sql
--!include app/private/delete_expired_notes.sql
