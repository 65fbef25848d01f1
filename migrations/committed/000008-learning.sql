--! Previous: sha1:f5b62751a91d4588bcedaa0960f6c5f3d7ada9d8
--! Hash: sha1:250d150b8a80929319ef53205f420fec851964b0
--! Message: learning

-- Content, access to it, users' progress, skills and training.

-- Function bodies are checked on first use, so a function may precede the objects that it uses.
set local check_function_bodies = off;

-- The function of a generated column below.
--! Included learning/functions/search_document.sql
-- The searchable text of an item: title first, then tags, then summary. The body is omitted on purpose: a match would reveal
-- text that the searcher may not read. Items store the result, so a change here needs `update learning.content_items set title
-- = title` in its migration. Its body is parsed and not a string, so that pg_dump knows its dependencies and writes them before
-- the table.
create or replace function learning.search_document(language text, title text, summary text, tags text[])
  returns tsvector
  language sql
  immutable
  parallel safe
begin atomic
  select
    setweight(plinth.search_document(language, title), 'A')
    || setweight(plinth.search_document(language, array_to_string(tags, ' ')), 'B')
    || setweight(plinth.search_document(language, summary), 'C');
end;

comment on function learning.search_document(text, text, text, text[]) is
  E'@behavior -*\nReturns the words of an item, stemmed in its language and weighted: title A, tags B, summary C.';
-- A stored column is computed with the rights of the user who writes the row.
grant execute on function learning.search_document(text, text, text, text[]) to :PLINTH_USER;
--! EndIncluded learning/functions/search_document.sql

-- Changes that must not run concurrently update a row here first. An advisory lock does not suffice under repeatable read, where
-- the transaction keeps an old snapshot; an update of the same row fails there instead.
create table private.content_locks (
  lock_name text primary key,
  taken bigint not null default 0
);

alter table private.content_locks enable row level security;

comment on table private.content_locks is 'One row per part of the content that only one transaction changes at a time.';
comment on column private.content_locks.lock_name is 'Name of the lock: categories (the tree) or prerequisites (the graph).';
comment on column private.content_locks.taken is 'Number of times the lock was taken.';

-- The tree of subjects. Triggers maintain `path`: a subtree is a prefix, and a move rewrites it.
create table learning.content_categories (
  id uuid primary key default plinth.uuid_v7(),
  parent_id uuid references learning.content_categories on delete restrict,
  slug text not null,
  name text not null,
  description text not null default '',
  position integer not null default 0,
  path text not null,
  depth integer not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  -- A path is unique exactly when slugs are unique among siblings.
  constraint content_categories_path_key unique (path),
  constraint content_categories_parent_id_slug_key unique nulls not distinct (parent_id, slug),
  constraint content_categories_slug_check check (slug ~ '^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$'),
  constraint content_categories_name_check check (length(name) between 1 and 200 and name = trim(name)),
  constraint content_categories_description_check check (length(description) <= 2000),
  constraint content_categories_is_not_its_own_parent check (parent_id <> id),
  constraint content_categories_depth_is_at_most_ten check (depth between 1 and 10)
);

alter table learning.content_categories enable row level security;

-- Subtrees by prefix, in any collation. The unique key serves parent_id.
create index content_categories_path_prefix_idx on learning.content_categories (path text_pattern_ops);

comment on table learning.content_categories is 'One row per category; categories form a tree.';
comment on column learning.content_categories.id is 'Id (UUIDv7).';
comment on column learning.content_categories.parent_id is
  'The parent category; null at the top level. Changing it moves the subtree.';
comment on column learning.content_categories.slug is
  'Name in URLs, unique among siblings: lower case letters, digits and hyphens, at most 60 characters.';
comment on column learning.content_categories.name is 'Name shown to people.';
comment on column learning.content_categories.description is 'Description of the content in the category.';
comment on column learning.content_categories.position is 'Position among siblings.';
comment on column learning.content_categories.path is 'Slugs from the top level, joined by slashes; maintained by the database.';
comment on column learning.content_categories.depth is
  'Depth in the tree, 1 at the top and at most 10; maintained by the database.';
comment on column learning.content_categories.created_at is 'Time when the category was created.';
comment on column learning.content_categories.updated_at is 'Time of the last change.';
comment on constraint content_categories_parent_id_fkey on learning.content_categories is
  E'@fieldName parent\n'
  '@foreignFieldName children';

-- A draft may change; a published version never does, so that a completion can reference it.
create table learning.content_versions (
  item_id uuid not null,
  version integer not null,
  change_note text not null default '',
  created_by uuid default plinth.current_user_id() references identity.users on delete set null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  published_at timestamptz,
  primary key (item_id, version),
  constraint content_versions_version_is_positive check (version > 0),
  constraint content_versions_change_note_check check (length(change_note) <= 2000)
);

alter table learning.content_versions enable row level security;

-- One draft per item.
create unique index content_versions_draft_idx on learning.content_versions (item_id) where published_at is null;
-- Serves the foreign key.
create index content_versions_created_by_idx on learning.content_versions (created_by);

comment on table learning.content_versions is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  'One row per version of an item. Published versions never change.';
comment on column learning.content_versions.item_id is 'The item.';
comment on column learning.content_versions.version is 'Version number within the item, from 1.';
comment on column learning.content_versions.change_note is 'Description of the changes in this version.';
comment on column learning.content_versions.created_by is 'The author of the version; null for an import or a deleted account.';
comment on column learning.content_versions.created_at is 'Time when the version was created.';
comment on column learning.content_versions.updated_at is 'Time of the draft''s last change.';
comment on column learning.content_versions.published_at is 'Time of publication; null for the draft.';

-- The public part of a content item. Its text is in content_bodies and requires access.
create table learning.content_items (
  id uuid primary key default plinth.uuid_v7(),
  category_id uuid not null references learning.content_categories on delete restrict,
  -- The course that a lesson belongs to. A course's window, level and prerequisites apply to its lessons too.
  course_id uuid references learning.content_items on delete cascade,
  position integer not null default 0,
  slug text not null,
  content_type text not null,
  title text not null,
  summary text not null default '',
  level smallint not null default 0,
  duration_seconds integer,
  language text not null default 'en',
  tags text[] not null default '{}',
  author_id uuid default plinth.current_user_id() references identity.users on delete set null,
  required_access_level integer,
  is_preview boolean not null default false,
  current_version integer,
  publish_from timestamptz,
  publish_until timestamptz,
  deleted_at timestamptz,
  -- Triggers combine the values of item and course, so that policies and access decisions read one row.
  effective_access_level integer not null default 0,
  available_from timestamptz,
  available_until timestamptz,
  -- Exact under concurrency: each rating updates them under the row's lock.
  rating_count integer not null default 0,
  rating_sum bigint not null default 0,
  rating_average numeric(3, 2) generated always as (round(rating_sum::numeric / nullif(rating_count, 0), 2)) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  search_document tsvector not null
    generated always as (learning.search_document(language, title, summary, tags)) stored,
  constraint content_items_slug_key unique (slug),
  constraint content_items_slug_check check (slug ~ '^[a-z0-9]([a-z0-9-]{0,118}[a-z0-9])?$'),
  constraint content_items_content_type_check
    check (content_type in ('course', 'lesson', 'article', 'video', 'exercise', 'quiz', 'project')),
  constraint content_items_title_check check (length(title) between 1 and 300 and title = trim(title)),
  constraint content_items_summary_check check (length(summary) <= 5000),
  -- Same scale as user_skills.level, so that content can be matched to proficiency.
  constraint content_items_level_check check (level between 0 and 10),
  constraint content_items_duration_seconds_is_positive check (duration_seconds > 0),
  constraint content_items_language_check check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$'),
  constraint content_items_tags_check check (cardinality(tags) <= 30 and array_position(tags, null) is null),
  constraint content_items_required_access_level_check check (required_access_level between 0 and 1000000),
  constraint content_items_course_is_not_in_a_course check (course_id is null or content_type <> 'course'),
  constraint content_items_published_has_a_start check (current_version is null or publish_from is not null),
  constraint content_items_window_ends_after_its_start check (publish_until > publish_from),
  constraint content_items_rating_totals_agree check (rating_sum between rating_count and 5 * rating_count::bigint),
  constraint content_items_current_version_fkey
    foreign key (id, current_version) references learning.content_versions on delete restrict
);

alter table learning.content_items enable row level security;

-- A category's items, newest first; also serves the foreign key.
create index content_items_category_id_available_from_idx on learning.content_items (category_id, available_from desc);
-- A course's lessons in order; also serves the foreign key.
create index content_items_course_id_position_idx on learning.content_items (course_id, position);
-- All items, newest first.
create index content_items_available_from_idx on learning.content_items (available_from desc, id);
-- An author's items; also serves the foreign key.
create index content_items_author_id_idx on learning.content_items (author_id);
-- Serves the foreign key to the current version.
create index content_items_id_current_version_idx on learning.content_items (id, current_version);
-- The languages in use, and the items of a language.
create index content_items_language_idx on learning.content_items (language);
create index content_items_content_type_idx on learning.content_items (content_type);
create index content_items_level_idx on learning.content_items (level);
create index content_items_tags_idx on learning.content_items using gin (tags);
-- Search by words, and by trigrams of the title if no word matches.
create index content_items_search_document_idx on learning.content_items using gin (search_document);
create index content_items_title_trigram_idx on learning.content_items using gin (title plinth.gin_trgm_ops);

comment on table learning.content_items is 'One row per content item: its public part. The text is in content_bodies.';
comment on column learning.content_items.id is 'Id (UUIDv7).';
comment on column learning.content_items.category_id is 'The category of the item.';
comment on column learning.content_items.course_id is 'The course that the item is part of, or null.';
comment on column learning.content_items.position is 'Position within the course.';
comment on column learning.content_items.slug is
  'Unique name in URLs and imports: lower case letters, digits and hyphens, at most 120 characters.';
comment on column learning.content_items.content_type is 'Type: course, lesson, article, video, exercise, quiz or project.';
comment on column learning.content_items.title is 'Title, 1 to 300 characters.';
comment on column learning.content_items.summary is 'Public summary, at most 5,000 characters.';
comment on column learning.content_items.level is 'Required level of knowledge, 0 to 10, on the scale of skill levels.';
comment on column learning.content_items.duration_seconds is 'Duration in seconds; null if unknown.';
comment on column learning.content_items.language is
  'Language tag (BCP 47), such as en or pt-BR. Determines how search stems the text.';
comment on column learning.content_items.tags is 'Search tags, at most 30; stored in lower case, sorted and unique.';
comment on column learning.content_items.author_id is
  'The author, who sees the item before it is published; null for an import or a deleted account.';
comment on column learning.content_items.required_access_level is
  'Lowest access level of plans that include the item; null for the course''s level, or 0.';
comment on column learning.content_items.is_preview is
  'Whether everyone may read the item, including visitors, whatever the plan.';
comment on column learning.content_items.current_version is
  'Number of the published version; null while the item is a draft or withdrawn.';
comment on column learning.content_items.publish_from is 'Time from which the item is visible.';
comment on column learning.content_items.publish_until is 'Time from which the item is hidden; null for never.';
comment on column learning.content_items.deleted_at is
  'Time when the item was deleted; null if not deleted. restore_content restores it.';
comment on column learning.content_items.effective_access_level is
  'Effective access level: the item''s own, or its course''s. Maintained by the database.';
comment on column learning.content_items.available_from is
  'Time from which the item and its course are both visible; null while one of them is unpublished or deleted. '
  'Maintained by the database.';
comment on column learning.content_items.available_until is
  'Time from which the item or its course is hidden; null for never. Maintained by the database.';
comment on column learning.content_items.rating_count is 'Number of users who rated the item.';
comment on column learning.content_items.rating_sum is 'Sum of the ratings.';
comment on column learning.content_items.rating_average is 'Average rating, 1.00 to 5.00; null without ratings.';
comment on column learning.content_items.created_at is 'Time when the item was created.';
comment on column learning.content_items.updated_at is 'Time when the item''s metadata last changed.';
comment on column learning.content_items.search_document is
  E'@behavior -*\n'
  'Search document of the item: title, tags and summary, stemmed in its language.';
comment on constraint content_items_category_id_fkey on learning.content_items is E'@fieldName category\n@foreignFieldName items';
comment on constraint content_items_course_id_fkey on learning.content_items is E'@fieldName course\n@foreignFieldName parts';
comment on constraint content_items_current_version_fkey on learning.content_items is
  E'@fieldName publishedVersion\n'
  '@foreignFieldName publishedItem';

-- The text, separate from the public part: the policy on this table decides who reads it.
create table learning.content_bodies (
  item_id uuid not null,
  version integer not null,
  body_format text not null default 'markdown',
  body text not null,
  primary key (item_id, version),
  constraint content_bodies_item_id_version_fkey
    foreign key (item_id, version) references learning.content_versions on delete cascade,
  constraint content_bodies_body_format_check check (body_format in ('markdown', 'html', 'text', 'json', 'url')),
  constraint content_bodies_body_check check (length(body) >= 1 and octet_length(body) <= 4000000)
);

alter table learning.content_bodies enable row level security;

comment on table learning.content_bodies is 'One row per version with a text. Readable by users with access to the item.';
comment on column learning.content_bodies.item_id is 'The item.';
comment on column learning.content_bodies.version is 'Version number of the item.';
comment on column learning.content_bodies.body_format is
  'Format: markdown, html, text, json, or url if the text is hosted elsewhere.';
comment on column learning.content_bodies.body is 'Text of the version, or its URL; at most 4,000,000 bytes.';
comment on constraint content_bodies_item_id_version_fkey on learning.content_bodies is
  E'@fieldName contentVersion\n'
  '@foreignFieldName contentBody';

create table learning.content_prerequisites (
  item_id uuid not null references learning.content_items on delete cascade,
  required_item_id uuid not null references learning.content_items on delete cascade,
  created_at timestamptz not null default now(),
  primary key (item_id, required_item_id),
  constraint content_prerequisites_is_not_its_own check (item_id <> required_item_id)
);

alter table learning.content_prerequisites enable row level security;

-- Serves the foreign key, and the list of items that an item unlocks.
create index content_prerequisites_required_item_id_idx on learning.content_prerequisites (required_item_id);

comment on table learning.content_prerequisites is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  'One row per item and the item that must be completed before it.';
comment on column learning.content_prerequisites.item_id is 'The item that is unlocked; for a course, also each of its lessons.';
comment on column learning.content_prerequisites.required_item_id is
  'The item that must be completed first. It counts while it is available.';
comment on column learning.content_prerequisites.created_at is 'Time when the prerequisite was added.';
comment on constraint content_prerequisites_item_id_fkey on learning.content_prerequisites is
  E'@fieldName item\n'
  '@foreignFieldName prerequisites';
comment on constraint content_prerequisites_required_item_id_fkey on learning.content_prerequisites is
  E'@fieldName requiredItem\n'
  '@foreignFieldName requiredBy';

create table learning.content_ratings (
  item_id uuid not null references learning.content_items on delete cascade,
  user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
  rating smallint not null,
  review text not null default '',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (item_id, user_id),
  constraint content_ratings_rating_check check (rating between 1 and 5),
  constraint content_ratings_review_check check (length(review) <= 5000)
);

alter table learning.content_ratings enable row level security;

-- A user's ratings; also serves the foreign key.
create index content_ratings_user_id_idx on learning.content_ratings (user_id);

comment on table learning.content_ratings is
  E'@behavior -insert -update\n'
  'One row per user and item they rated. Totals are on the item.';
comment on column learning.content_ratings.item_id is 'The rated item.';
comment on column learning.content_ratings.user_id is 'The user who rated the item.';
comment on column learning.content_ratings.rating is 'Rating from 1 to 5.';
comment on column learning.content_ratings.review is 'Review of the user, or empty.';
comment on column learning.content_ratings.created_at is 'Time of the first rating.';
comment on column learning.content_ratings.updated_at is 'Time of the last change of the rating.';
comment on constraint content_ratings_item_id_fkey on learning.content_ratings is E'@fieldName item\n@foreignFieldName ratings';

create table learning.user_content_permissions (
  user_id uuid not null references identity.users on delete cascade,
  item_id uuid not null references learning.content_items on delete cascade,
  permission text not null,
  waives_prerequisites boolean not null default false,
  reason text not null default '',
  granted_by uuid default plinth.current_user_id() references identity.users on delete set null,
  granted_at timestamptz not null default now(),
  expires_at timestamptz,
  updated_at timestamptz not null default now(),
  primary key (user_id, item_id),
  constraint user_content_permissions_permission_check check (permission in ('allow', 'deny')),
  constraint user_content_permissions_only_allow_waives check (permission = 'allow' or not waives_prerequisites),
  constraint user_content_permissions_reason_check check (length(reason) <= 1000),
  constraint user_content_permissions_expires_after_granted check (expires_at > granted_at)
);

alter table learning.user_content_permissions enable row level security;

-- Serve the foreign keys; the primary key serves user_id.
create index user_content_permissions_item_id_idx on learning.user_content_permissions (item_id);
create index user_content_permissions_granted_by_idx on learning.user_content_permissions (granted_by);

comment on table learning.user_content_permissions is
  'One row per user and item allowed or denied to them, whatever their plan. A row for a course applies to its lessons '
  'without a row of their own.';
comment on column learning.user_content_permissions.user_id is 'The user.';
comment on column learning.user_content_permissions.item_id is 'The item.';
comment on column learning.user_content_permissions.permission is
  'Permission: allow (replaces a plan) or deny (whatever the plan).';
comment on column learning.user_content_permissions.waives_prerequisites is 'Whether an allow also waives the prerequisites.';
comment on column learning.user_content_permissions.reason is 'Reason for the decision.';
comment on column learning.user_content_permissions.granted_by is
  'The account that decided; null if the system decided or the account was deleted.';
comment on column learning.user_content_permissions.granted_at is 'Time of the decision.';
comment on column learning.user_content_permissions.expires_at is 'Time when the permission expires; null if it does not expire.';
comment on column learning.user_content_permissions.updated_at is 'Time of the last change.';
comment on constraint user_content_permissions_item_id_fkey on learning.user_content_permissions is
  E'@fieldName item\n'
  '@foreignFieldName userPermissions';

create table learning.skills (
  id uuid primary key default plinth.uuid_v7(),
  skill_name text not null,
  display_name text,
  description text not null default '',
  training_gain numeric not null default 1,
  is_active boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint skills_skill_name_key unique (skill_name),
  constraint skills_skill_name_is_a_lower_case_key check (skill_name ~ '^[a-z][a-z0-9_]{0,99}$'),
  constraint skills_display_name_check check (length(display_name) between 1 and 200 and display_name = trim(display_name)),
  constraint skills_description_check check (length(description) <= 10000),
  constraint skills_training_gain_is_from_0_to_10 check (training_gain between 0 and 10),
  constraint skills_training_gain_has_two_decimals check (training_gain = round(training_gain, 2))
);

alter table learning.skills enable row level security;

comment on table learning.skills is 'One row per skill that users can have and train.';
comment on column learning.skills.id is 'Id (UUIDv7).';
comment on column learning.skills.skill_name is
  'Unique key of lower case letters, digits and underscores, such as active_listening.';
comment on column learning.skills.display_name is 'Name shown to people, or null.';
comment on column learning.skills.description is 'Description of what the skill enables a person to do.';
comment on column learning.skills.training_gain is 'Increase of the level on completing a training, 0 to 10.';
comment on column learning.skills.is_active is
  'Whether the skill is in use. Inactive skills are hidden and cannot be added; users keep theirs.';
comment on column learning.skills.created_at is 'Time when the skill was created.';
comment on column learning.skills.updated_at is 'Time of the last change.';
comment on constraint skills_training_gain_has_two_decimals on learning.skills is 'The gain must have at most two decimals.';

create table learning.user_skills (
  user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
  skill_id uuid not null references learning.skills on delete cascade,
  level numeric not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (user_id, skill_id),
  constraint user_skills_level_is_from_0_to_10 check (level between 0 and 10),
  constraint user_skills_level_has_two_decimals check (level = round(level, 2))
);

alter table learning.user_skills enable row level security;

-- Serves the foreign key, and the search for users with a skill.
create index user_skills_skill_id_level_idx on learning.user_skills (skill_id, level);

comment on table learning.user_skills is 'One row per user and skill they have added.';
comment on column learning.user_skills.user_id is 'The user.';
comment on column learning.user_skills.skill_id is 'The skill.';
comment on column learning.user_skills.level is 'Proficiency from 0 to 10; always the sum of the evidence.';
comment on column learning.user_skills.created_at is 'Time when the skill was added.';
comment on column learning.user_skills.updated_at is 'Time of the level''s last change.';
comment on constraint user_skills_level_has_two_decimals on learning.user_skills is 'The level must have at most two decimals.';

create table learning.skill_evidence (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null,
  skill_id uuid not null,
  kind text not null,
  delta numeric not null,
  source_key text,
  note text,
  recorded_by uuid default plinth.current_user_id() references identity.users on delete set null,
  created_at timestamptz not null default clock_timestamp(),
  constraint skill_evidence_user_id_skill_id_fkey
    foreign key (user_id, skill_id) references learning.user_skills on delete cascade,
  -- Also serves the sum of the evidence.
  constraint skill_evidence_user_id_skill_id_source_key_key unique (user_id, skill_id, source_key),
  constraint skill_evidence_kind_check check (kind in ('initial', 'assessment', 'training', 'content', 'adjustment')),
  constraint skill_evidence_delta_is_from_minus_10_to_10 check (delta between -10 and 10),
  constraint skill_evidence_source_key_check check (length(source_key) between 1 and 200),
  constraint skill_evidence_note_check check (length(note) between 1 and 2000),
  constraint skill_evidence_delta_has_two_decimals check (delta = round(delta, 2))
);

alter table learning.skill_evidence enable row level security;

-- Serves the foreign key.
create index skill_evidence_recorded_by_idx on learning.skill_evidence (recorded_by);

comment on table learning.skill_evidence is
  'One row per change, or attempted change, of a skill level. A level is the sum of its evidence.';
comment on column learning.skill_evidence.id is 'Id (UUIDv7).';
comment on column learning.skill_evidence.user_id is 'The user.';
comment on column learning.skill_evidence.skill_id is 'The skill.';
comment on column learning.skill_evidence.kind is
  'Kind of evidence: initial (the level at the start), assessment (by a person or the application), training (a '
  'completed run), content (completed items) or adjustment (entered by the owner).';
comment on column learning.skill_evidence.delta is 'Change of the level; smaller than intended if the level reached 0 or 10.';
comment on column learning.skill_evidence.source_key is
  'Key of the source, such as training:1; each counts once per user and skill. Null for evidence that may repeat.';
comment on column learning.skill_evidence.note is 'Reason for the change.';
comment on column learning.skill_evidence.recorded_by is
  'The signed-in account that recorded it; null for a job, psql or a deleted account.';
comment on column learning.skill_evidence.created_at is 'Time of the change.';
comment on constraint skill_evidence_user_id_skill_id_source_key_key on learning.skill_evidence is '@behavior -*';
comment on constraint skill_evidence_user_id_skill_id_fkey on learning.skill_evidence is
  E'@fieldName userSkill\n'
  '@foreignFieldName evidence';
comment on constraint skill_evidence_delta_has_two_decimals on learning.skill_evidence is
  'The change must have at most two decimals.';

create table learning.training (
  user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
  skill_id uuid not null references learning.skills on delete cascade,
  status text not null default 'pending',
  progress numeric not null default 0,
  run integer not null default 1,
  started_at timestamptz,
  completed_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (user_id, skill_id),
  constraint training_status_check check (status in ('pending', 'active', 'completed')),
  constraint training_progress_is_from_0_to_1 check (progress between 0 and 1),
  constraint training_is_completed_when_its_progress_is_1 check ((status = 'completed') = (progress = 1)),
  constraint training_completed_at_is_of_the_completed check ((status = 'completed') = (completed_at is not null)),
  constraint training_is_started_before_it_is_active check (status = 'pending' or started_at is not null),
  constraint training_run_is_positive check (run >= 1),
  constraint training_progress_has_four_decimals check (progress = round(progress, 4))
);

alter table learning.training enable row level security;

-- Serves the foreign key, and the search for users who train a skill.
create index training_skill_id_status_idx on learning.training (skill_id, status);

comment on table learning.training is 'One row per user and skill they train; at most one, whatever its state.';
comment on column learning.training.user_id is 'The user.';
comment on column learning.training.skill_id is 'The skill.';
comment on column learning.training.status is 'State: pending (not started, or paused), active or completed.';
comment on column learning.training.progress is 'Completed share of this run, from 0.0 to 1.0; 1 means completed.';
comment on column learning.training.run is 'Number of the run, from 1; restarting a completed training raises it.';
comment on column learning.training.started_at is 'Start of this run; null if not started.';
comment on column learning.training.completed_at is 'Time when this run was completed.';
comment on column learning.training.created_at is 'Time when the training was planned or first started.';
comment on column learning.training.updated_at is 'Time of the last change.';
comment on constraint training_progress_has_four_decimals on learning.training is 'The progress must have at most four decimals.';

-- The skills that an item teaches. Completing the item is evidence of the skill and a step of its training.
create table learning.content_skills (
  item_id uuid not null references learning.content_items on delete cascade,
  skill_id uuid not null references learning.skills on delete cascade,
  gain numeric not null default 0.25,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (item_id, skill_id),
  constraint content_skills_gain_is_from_0_to_10 check (gain between 0 and 10),
  constraint content_skills_gain_has_two_decimals check (gain = round(gain, 2))
);

alter table learning.content_skills enable row level security;

-- Serves the foreign key, and the search for items that teach a skill.
create index content_skills_skill_id_idx on learning.content_skills (skill_id);

comment on table learning.content_skills is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  'One row per item and skill that it teaches.';
comment on column learning.content_skills.item_id is 'The item, which may be a course.';
comment on column learning.content_skills.skill_id is 'The skill.';
comment on column learning.content_skills.gain is 'Increase of the skill level on completing the item, once; 0 to 10.';
comment on column learning.content_skills.created_at is 'Time when the skill was added to the item.';
comment on column learning.content_skills.updated_at is 'Time of the last change.';
comment on constraint content_skills_item_id_fkey on learning.content_skills is
  E'@fieldName item\n'
  '@foreignFieldName contentSkills';
comment on constraint content_skills_gain_has_two_decimals on learning.content_skills is
  'The gain must have at most two decimals.';

-- The combined state of all sessions. Heartbeats of one item wait for each other at the lock of its row.
create table learning.content_progress (
  user_id uuid not null references identity.users on delete cascade,
  item_id uuid not null references learning.content_items on delete cascade,
  version integer not null,
  covered int4multirange not null default '{}',
  covered_seconds integer not null default 0,
  duration_seconds integer,
  position_seconds integer not null default 0,
  position_at timestamptz,
  active_seconds bigint not null default 0,
  completed_version integer,
  completed_at timestamptz,
  -- Generated, so that it cannot contradict them: only a completed item has 1.
  progress numeric(5, 4) not null generated always as (
    case
      when completed_version is not null then 1
      when duration_seconds > 0 then least(trunc(covered_seconds::numeric / duration_seconds, 4), 0.9999)
      else 0
    end
  ) stored,
  credited_version integer,
  session_created_at timestamptz,
  access_checked_at timestamptz,
  started_at timestamptz not null,
  last_activity_at timestamptz not null,
  -- Seconds of the clock that the user spent with the item.
  active int4multirange not null default '{}',
  primary key (user_id, item_id),
  -- Published versions are neither changed nor deleted.
  constraint content_progress_item_id_completed_version_fkey
    foreign key (item_id, completed_version) references learning.content_versions on delete cascade,
  constraint content_progress_completed_has_version_and_time check ((completed_version is null) = (completed_at is null)),
  constraint content_progress_version_is_positive check (version > 0),
  constraint content_progress_covered_seconds_is_not_negative check (covered_seconds >= 0),
  constraint content_progress_position_seconds_is_not_negative check (position_seconds >= 0),
  constraint content_progress_active_seconds_is_not_negative check (active_seconds >= 0)
) with (fillfactor = 70);

alter table learning.content_progress enable row level security;

-- Users who completed an item or a version of it; also serves the foreign keys.
create index content_progress_item_id_completed_version_idx on learning.content_progress (item_id, completed_version);

comment on table learning.content_progress is
  'One row per user and item they have started: progress and the position to continue from.';
comment on column learning.content_progress.user_id is 'The user.';
comment on column learning.content_progress.item_id is 'The item. A course has a row once one of its parts was completed.';
comment on column learning.content_progress.version is 'Latest version the user has played; covered and position refer to it.';
comment on column learning.content_progress.covered is E'@behavior -*\nRanges of seconds of that version that were played.';
comment on column learning.content_progress.covered_seconds is
  'Number of seconds of that version that were played, each counted once.';
comment on column learning.content_progress.duration_seconds is
  'Duration of the item in seconds at the last heartbeat; null if unknown.';
comment on column learning.content_progress.position_seconds is 'Position to continue from, in seconds.';
comment on column learning.content_progress.position_at is 'Time when the user was at that position.';
comment on column learning.content_progress.active_seconds is
  'Active time with the item in seconds, over all versions and repetitions; a second in two tabs counts once.';
comment on column learning.content_progress.completed_version is 'Latest version the user has completed; null if none.';
comment on column learning.content_progress.completed_at is 'Time when the user completed that version.';
comment on column learning.content_progress.progress is
  'Progress from 0.0 to 1.0; 1 once any version is completed. For a course, use its field `progress`.';
comment on column learning.content_progress.credited_version is
  E'@behavior -*\n'
  'Completed version that has already been credited to course, training and evidence.';
comment on column learning.content_progress.session_created_at is
  E'@behavior -*\n'
  'Key of the session with the latest activity, where the next heartbeat most likely belongs.';
comment on column learning.content_progress.access_checked_at is
  E'@behavior -*\n'
  'Time when access to the item was last checked for a heartbeat; null forces a new check.';
comment on column learning.content_progress.started_at is 'Time when the user first played the item.';
comment on column learning.content_progress.last_activity_at is 'Time when the user last played the item.';
comment on column learning.content_progress.active is
  E'@behavior -*\n'
  'Known seconds of the clock spent with the item, counted from the year 2000 (UTC).';
comment on constraint content_progress_item_id_fkey on learning.content_progress is
  E'@fieldName item\n'
  '@foreignFieldName contentProgresses';
comment on constraint content_progress_item_id_completed_version_fkey on learning.content_progress is '@behavior -*';

-- A session is a series of heartbeats at most half an hour apart. Partitioned by the time when the session was recorded, not when
-- it took place, so that late heartbeats need no old partition.
create table learning.content_consumption (
  user_id uuid not null references identity.users on delete cascade,
  item_id uuid not null references learning.content_items on delete cascade,
  version integer not null,
  started_at timestamptz not null,
  last_activity_at timestamptz not null,
  active_seconds integer not null,
  heartbeat_count integer not null,
  covered int4multirange not null,
  created_at timestamptz not null default clock_timestamp(),
  active int4multirange not null default '{}',
  primary key (user_id, item_id, created_at),
  constraint content_consumption_ends_after_its_start check (last_activity_at >= started_at),
  constraint content_consumption_active_seconds_is_not_negative check (active_seconds >= 0),
  constraint content_consumption_heartbeat_count_is_positive check (heartbeat_count > 0)
) partition by range (created_at);

alter table learning.content_consumption enable row level security;

-- An item's sessions by time; also serves the foreign key.
create index content_consumption_item_id_created_at_idx on learning.content_consumption (item_id, created_at);

comment on table learning.content_consumption is
  'One row per session of a user with an item; partitioned by month of created_at.';
comment on column learning.content_consumption.user_id is 'The user.';
comment on column learning.content_consumption.item_id is 'The item.';
comment on column learning.content_consumption.version is 'Version of the item.';
comment on column learning.content_consumption.started_at is 'Start of the session, by the client''s clock.';
comment on column learning.content_consumption.last_activity_at is 'Time of the last heartbeat, by the client''s clock.';
comment on column learning.content_consumption.active_seconds is
  'Active time in seconds, without pauses; a second in two tabs counts once.';
comment on column learning.content_consumption.heartbeat_count is 'Number of heartbeats merged into the session.';
comment on column learning.content_consumption.covered is E'@behavior -*\nRanges of the item''s seconds that were played.';
comment on column learning.content_consumption.created_at is 'Time when the first heartbeat arrived; the partition key.';
comment on column learning.content_consumption.active is
  E'@behavior -*\n'
  'Known seconds of the clock spent in the session, counted from the year 2000 (UTC).';
comment on constraint content_consumption_item_id_fkey on learning.content_consumption is
  E'@fieldName item\n'
  '@foreignFieldName contentConsumptions';

-- Keys that detect repeated heartbeats, kept for as long as a heartbeat can be repeated.
create table private.recorded_heartbeats (
  user_id uuid not null references identity.users on delete cascade,
  event_id uuid not null,
  created_at timestamptz not null default now(),
  digest bytea,
  primary key (user_id, event_id),
  constraint recorded_heartbeats_digest_is_sha256 check (octet_length(digest) = 32)
);

alter table private.recorded_heartbeats enable row level security;

-- Serves the cleanup job.
create index recorded_heartbeats_created_at_idx on private.recorded_heartbeats (created_at);

comment on table private.recorded_heartbeats is 'One row per recently recorded heartbeat, so that each counts once.';
comment on column private.recorded_heartbeats.user_id is 'The user.';
comment on column private.recorded_heartbeats.event_id is 'Id of the heartbeat, set by the client.';
comment on column private.recorded_heartbeats.created_at is 'Time when the heartbeat was recorded.';
comment on column private.recorded_heartbeats.digest is
  'SHA-256 of the heartbeat; null for heartbeats recorded before digests were stored.';

-- Digests detect an idempotency key that is reused with other arguments.
create table private.request_digests (
  id bigint generated always as identity primary key,
  user_id uuid references identity.users on delete cascade,
  room_message_id uuid unique references rooms.room_messages on delete cascade,
  chat_room_id uuid unique references rooms.chat_rooms on delete cascade,
  general_chat_message_id uuid unique references rooms.general_chat_messages on delete cascade,
  chat_message_id uuid unique references llm.messages on delete cascade,
  skill_evidence_id uuid unique references learning.skill_evidence on delete cascade,
  digest bytea not null,
  constraint request_digests_are_of_one_row check (
    num_nonnulls(room_message_id, chat_room_id, general_chat_message_id, chat_message_id, skill_evidence_id) = 1
  ),
  constraint request_digests_digest_is_sha256 check (octet_length(digest) = 32)
);

alter table private.request_digests enable row level security;

-- Serves the foreign key: deleting an account deletes the digests of its requests.
create index request_digests_user_id_idx on private.request_digests (user_id);

comment on table private.request_digests is
  'One row per record created under an idempotency key. Private, because a digest would confirm a guess at a deleted text.';
comment on column private.request_digests.id is 'Surrogate key.';
comment on column private.request_digests.user_id is 'The account that sent the request; null for the AI of a room.';
comment on column private.request_digests.room_message_id is 'The room message that the request created, or null.';
comment on column private.request_digests.chat_room_id is 'The room that the request created, or null.';
comment on column private.request_digests.general_chat_message_id is
  'The general chat message that the request created, or null.';
comment on column private.request_digests.chat_message_id is 'The chat message that the request created, or null.';
comment on column private.request_digests.skill_evidence_id is 'The evidence that the request created, or null.';
comment on column private.request_digests.digest is 'SHA-256 of the arguments of the request.';

-- Changes of an item's availability, still to be processed, that may complete a course or a training.
create table private.completion_checks (
  item_id uuid not null references learning.content_items on delete cascade,
  due_at timestamptz not null,
  primary key (item_id, due_at)
);

alter table private.completion_checks enable row level security;

-- Due checks, in order.
create index completion_checks_due_at_idx on private.completion_checks (due_at);

comment on table private.completion_checks is
  'One row per item and time at which it may complete a course or a training: when its availability begins or ends.';
comment on column private.completion_checks.item_id is 'The item.';
comment on column private.completion_checks.due_at is 'Time of the check; the row is deleted once it was processed.';

create type learning.progress_summary as (
  item_count integer,
  completed_count integer,
  progress numeric(5,4),
  active_seconds bigint,
  last_activity_at timestamptz
);

comment on type learning.progress_summary is 'Progress of a user over a number of items that are available now.';
comment on column learning.progress_summary.item_count is 'Number of items; a course counts as its parts.';
comment on column learning.progress_summary.completed_count is 'Number of those items that are completed.';
comment on column learning.progress_summary.progress is 'Average of their progress, 0.0 to 1.0; 0 without items.';
comment on column learning.progress_summary.active_seconds is
  'Time spent with them, in seconds; a second spent with two of them counts once.';
comment on column learning.progress_summary.last_activity_at is 'Time of the last activity with one of them; null if never.';

create type learning.heartbeat_result as (
  event_id uuid,
  item_id uuid,
  outcome text,
  reason text
);

comment on type learning.heartbeat_result is 'Result of a recorded heartbeat.';
comment on column learning.heartbeat_result.event_id is 'Id that the client gave the heartbeat; null if unreadable.';
comment on column learning.heartbeat_result.item_id is 'The item that the heartbeat names.';
comment on column learning.heartbeat_result.outcome is
  'Outcome: recorded, repeated or refused. Each is final: retry only if no response arrives.';
comment on column learning.heartbeat_result.reason is
  'Reason of a refusal: a reason of access, no_such_version, the name of the invalid value (event_id, also if it was used '
  'for another heartbeat; from_seconds, to_seconds, active_seconds, occurred_at), or malformed if unreadable.';

-- Foreign keys of tables that reference each other.
alter table learning.content_versions
  add constraint content_versions_item_id_fkey foreign key (item_id) references learning.content_items on delete cascade;
comment on constraint content_versions_item_id_fkey on learning.content_versions is
  E'@fieldName item\n'
  '@foreignFieldName versions';

insert into private.content_locks (lock_name) values
  ('categories'),
  ('prerequisites');

--! Included learning/functions/access_reason.sql
-- The access rule, in one place: the views apply it to items, and policies and functions query the views. The first reason that
-- applies wins. A plain expression of its arguments, which are evaluated only when reached: the planner inlines it into the
-- calling query.
create or replace function learning.access_reason(
  is_editor boolean,
  is_author boolean,
  is_available boolean,
  permission text,
  is_preview boolean,
  is_signed_in boolean,
  required_level integer,
  plan_level integer,
  waives_prerequisites boolean,
  misses_prerequisites boolean
)
  returns text
  language sql
  immutable
  parallel safe
as $$
  select case
    when is_editor then 'editor'
    when is_author then 'author'
    when is_available is not true then 'not_available'
    when permission = 'deny' then 'denied'
    when is_preview then 'preview'
    when not is_signed_in then 'sign_in_required'
    when permission is null and required_level > plan_level then 'plan_required'
    when waives_prerequisites is not true and misses_prerequisites then 'prerequisites_missing'
    when permission = 'allow' then 'permission'
    else 'plan'
  end
$$;

comment on function learning.access_reason(boolean, boolean, boolean, text, boolean, boolean, integer, integer, boolean, boolean) is
  E'@behavior -*\nReturns why a user has or lacks access to an item.';
grant execute on function learning.access_reason(boolean, boolean, boolean, text, boolean, boolean, integer, integer, boolean, boolean)
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/access_reason.sql
--! Included learning/functions/assess_skill.sql
-- An assessment of a user's skill by a trainer, or by an application on a trainer's behalf.
create or replace function learning.assess_skill(
  user_id uuid,
  skill_id uuid,
  delta numeric,
  note text default null,
  event_key text default null
)
  returns learning.skill_evidence
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  perform private.require_user_id();
  if not access.has_permission('manage_skills') then
    raise exception 'You need the permission manage_skills.' using errcode = 'PL403';
  end if;
  if assess_skill.delta is null or assess_skill.delta not between -10 and 10 or assess_skill.delta <> round(assess_skill.delta, 2) then
    raise exception 'delta must be from -10 to 10, with at most two decimals.'
      using errcode = 'PL422', schema = 'learning', table = 'skill_evidence', column = 'delta';
  end if;
  if not exists (select from identity.users u where u.id = assess_skill.user_id) then
    raise exception 'User not found.'
      using errcode = 'PL404', schema = 'learning', table = 'skill_evidence', column = 'user_id';
  end if;
  if not exists (select from learning.skills s where s.id = assess_skill.skill_id) then
    raise exception 'Skill not found.'
      using errcode = 'PL404', schema = 'learning', table = 'skill_evidence', column = 'skill_id';
  end if;
  return private.add_skill_evidence(
    assess_skill.user_id, assess_skill.skill_id, 'assessment', assess_skill.delta, 'event:' || assess_skill.event_key, assess_skill.note,
    private.request_digest(jsonb_build_array(assess_skill.delta, assess_skill.note))
  );
end
$$;

comment on function learning.assess_skill(uuid, uuid, numeric, text, text) is
  'Raises or lowers a user''s level (within 0 to 10) and stores the change as evidence; repeating it with the same event_key changes nothing. Needs manage_skills. PL409 for an event_key that was used for another assessment, PL404 for an unknown user or skill, PL422 for a delta outside -10 to 10.';
grant execute on function learning.assess_skill(uuid, uuid, numeric, text, text) to :PLINTH_USER;
--! EndIncluded learning/functions/assess_skill.sql
--! Included learning/functions/complete_item.sql
-- Readers mark content that is not played, such as an article or an exercise, as completed. A video is completed by playing it,
-- a course by its parts.
create or replace function learning.complete_item(item_id uuid, version integer default null)
  returns learning.content_progress
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.lock_own_account();
  v_open record;
  v_progress learning.content_progress;
begin
  select * into v_open from private.open_for_recording(item_id, version);
  perform private.refuse_recording(v_open.reason);
  if v_open.content_type = 'course' then
    raise exception 'A course is completed by completing its parts.' using errcode = 'PL409';
  end if;
  if v_open.content_type = 'video' and v_open.duration_seconds is not null then
    raise exception 'A video is completed by playing it.' using errcode = 'PL409', hint = 'Record a heartbeat for each part that was played.';
  end if;
  insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at)
  values (v_user_id, item_id, v_open.playable_version, now(), now())
  on conflict do nothing;
  perform from learning.content_progress p where p.user_id = v_user_id and p.item_id = complete_item.item_id for no key update;
  update learning.content_progress p
  set version = greatest(p.version, v_open.playable_version),
    -- The seconds seen belong to another version.
    covered = case when p.version < v_open.playable_version then '{}' else p.covered end,
    covered_seconds = case when p.version < v_open.playable_version then 0 else p.covered_seconds end,
    position_seconds = case when p.version < v_open.playable_version then 0 else p.position_seconds end,
    completed_version = v_open.playable_version,
    completed_at = now(),
    last_activity_at = greatest(p.last_activity_at, now())
  where p.user_id = v_user_id
    and p.item_id = complete_item.item_id
    and coalesce(p.completed_version, 0) < v_open.playable_version;
  if found then
    perform private.credit_completions(v_user_id, array[item_id]);
  end if;
  select p.* into v_progress
  from learning.content_progress p
  where p.user_id = v_user_id and p.item_id = complete_item.item_id;
  return v_progress;
end
$$;

comment on function learning.complete_item(uuid, integer) is
  E'@resultFieldName progress\n'
  'Marks an item as completed by the signed-in user, in its current or the given version; repeating it changes nothing. PL409 '
  'for a course (completed by its parts) and for a video with a known duration (completed by playing it). PL401, PL403 with the '
  'reason as hint, PL404.';
grant execute on function learning.complete_item(uuid, integer) to :PLINTH_USER;
--! EndIncluded learning/functions/complete_item.sql
--! Included learning/functions/content_access.sql
-- The caller's access to given items, one row for each: an invisible item and one that does not exist give the same answer.
create or replace function learning.content_access(item_ids uuid[])
  returns table (item_id uuid, has_access boolean, reason text, required_access_level integer, missing_prerequisites uuid[])
  language sql
  stable
  rows 50
  set search_path = pg_catalog
as $$
  select
    asked.id,
    coalesce(a.has_access, false),
    coalesce(a.reason, 'not_available'),
    a.required_access_level,
    case when a.reason = 'prerequisites_missing' then array(
      select p.required_item_id
      from learning.content_items i
      join learning.content_prerequisites p on p.item_id in (i.id, i.course_id)
      where i.id = asked.id and not learning.is_prerequisite_met(plinth.current_user_id(), p.required_item_id)
      order by 1
    ) else '{}' end
  from unnest(content_access.item_ids) with ordinality as asked (id, place)
  left join learning.my_content_access a on a.content_id = asked.id
  order by asked.place
$$;

comment on function learning.content_access(uuid[]) is
  'Returns for each of these items, in their order, whether the caller may read its text, the reason, and the prerequisites still to be completed.';
grant execute on function learning.content_access(uuid[]) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/content_access.sql
--! Included learning/functions/content_categories_progress.sql
create or replace function learning.content_categories_progress(category learning.content_categories)
  returns learning.progress_summary
  language sql
  stable
  set search_path = pg_catalog
as $$
  select learning.sum_progress(
    count(*), count(*) filter (where m.is_completed), sum(m.progress),
    learning.time_spent(sum(m.active_seconds), array_agg(m.active)), max(m.last_activity_at)
  )
  from learning.content_categories c
  join learning.my_item_progress m on m.category_id = c.id
  where c.id = category.id or c.path like category.path || '/%'
$$;

comment on function learning.content_categories_progress(learning.content_categories) is
  E'@fieldName progress\nReturns the progress of the signed-in user in all items of the category and its subcategories.';
grant execute on function learning.content_categories_progress(learning.content_categories) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/content_categories_progress.sql
--! Included learning/functions/content_items_progress.sql
create or replace function learning.content_items_progress(item learning.content_items)
  returns learning.progress_summary
  language sql
  stable
  set search_path = pg_catalog
as $$
  select learning.sum_progress(
    count(*), count(*) filter (where m.is_completed), sum(m.progress),
    learning.time_spent(sum(m.active_seconds), array_agg(m.active)), max(m.last_activity_at)
  )
  from (
    -- A course is not among these rows, and only a course has parts.
    select own.* from learning.my_item_progress own where own.item_id = item.id
    union all
    select part.* from learning.my_item_progress part where part.course_id = item.id
  ) m
$$;

comment on function learning.content_items_progress(learning.content_items) is
  E'@fieldName progress\nReturns the progress of the signed-in user in the item; for a course, in its parts.';
grant execute on function learning.content_items_progress(learning.content_items) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/content_items_progress.sql
--! Included learning/functions/content_search_facets.sql
-- The number of hits that a further filter would leave. It counts all hits, which costs more than the first page of them.
create or replace function learning.content_search_facets(
  query text default '',
  language text default null,
  content_types text[] default null,
  category_id uuid default null,
  tags text[] default null,
  min_level integer default null,
  max_level integer default null
)
  returns table (facet text, value text, label text, item_count bigint)
  language plpgsql
  stable
  security definer
  rows 50
  set search_path = pg_catalog
  set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_variable
declare
  v_text constant text := left(btrim(coalesce(query, '')), 500);
  v_terms record;
  v_query tsquery;
  v_similar text;
  v_categories constant uuid[] := case when category_id is not null
    then coalesce(private.content_subtree(category_id), '{}') end;
  v_tags constant text[] := array(select lower(btrim(t)) from unnest(tags) as t);
begin
  select * into v_terms from private.content_search_terms(v_text, language);
  if v_text <> '' then
    if numnode(v_terms.any_query) > 0 and exists (
      select
      from private.content_matching(
        v_terms.any_query, v_terms.languages, v_terms.queries, null,
        content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      )
    ) then
      v_query := v_terms.any_query;
    else
      v_similar := v_text;
      perform private.look_for_similar_titles();
    end if;
  end if;
  return query
    with hits as materialized (
      select m.content_type, m.level, m.language, m.category_id, m.tags
      from private.content_matching(
        v_query, v_terms.languages, v_terms.queries, v_similar,
        content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      ) m
    ),
    counts as (
      select 'content_type' as facet, h.content_type as value, h.content_type as label, count(*) as item_count
      from hits h
      group by h.content_type
      union all
      select 'level', h.level::text, h.level::text, count(*) from hits h group by h.level
      union all
      select 'language', h.language, h.language, count(*) from hits h group by h.language
      union all
      select 'category', c.id::text, c.name, h.item_count
      from (select h.category_id, count(*) as item_count from hits h group by h.category_id) h
      join learning.content_categories c on c.id = h.category_id
      union all
      (
        select 'tag', t.tag, t.tag, count(*)
        from hits h
        cross join unnest(h.tags) as t (tag)
        group by t.tag
        order by 4 desc, 2
        limit 30
      )
    )
    select c.facet, c.value, c.label, c.item_count from counts c order by c.facet, c.item_count desc, c.value;
end
$$;

comment on function learning.content_search_facets(text, text, text[], uuid, text[], integer, integer) is
  E'Returns the number of items in a search (the same arguments) by content_type, level, language, category and tag (the 30 most '
  'frequent), largest first.';
grant execute on function learning.content_search_facets(text, text, text[], uuid, text[], integer, integer)
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/content_search_facets.sql
--! Included learning/functions/course_learners.sql
-- The report of a course: its learners and their progress. For trainers and the course's author.
create or replace function learning.course_learners(course_id uuid)
  returns table (
    user_id uuid,
    item_count integer,
    completed_count integer,
    progress numeric,
    active_seconds bigint,
    last_activity_at timestamptz,
    completed_version integer,
    completed_at timestamptz
  )
  language plpgsql
  stable
  security definer
  rows 100
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  if not exists (
    select
    from learning.content_items c
    where c.id = course_learners.course_id
      and c.content_type = 'course'
      and (c.author_id = plinth.current_user_id() or access.has_permission('manage_skills'))
  ) then
    raise exception 'Course not found, or you may not see its report.' using errcode = 'PL404';
  end if;
  return query
    with parts as (
      select i.id
      from learning.content_items i
      where i.course_id = course_learners.course_id
        and i.available_from <= now()
        and (i.available_until is null or i.available_until > now())
    ),
    total as (
      select count(*) as item_count from parts
    ),
    done as (
      select
        p.user_id, count(p.completed_at) as completed_count, sum(p.progress) as progress,
        learning.time_spent(sum(p.active_seconds), array_agg(p.active)) as active_seconds, max(p.last_activity_at) as last_activity_at
      from learning.content_progress p
      join parts on parts.id = p.item_id
      group by p.user_id
    )
    select
      d.user_id, t.item_count::integer, d.completed_count::integer, trunc(d.progress / t.item_count, 4),
      d.active_seconds, d.last_activity_at, c.completed_version, c.completed_at
    from done d
    cross join total t
    left join learning.content_progress c on c.user_id = d.user_id and c.item_id = course_learners.course_id
    order by 4 desc, d.user_id;
end
$$;

comment on function learning.course_learners(uuid) is
  'Returns the learners of a course and their progress in its parts, furthest first. For its author and for users with manage_skills; PL404 for other callers.';
grant execute on function learning.course_learners(uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/course_learners.sql
--! Included learning/functions/delete_content.sql
create or replace function learning.delete_content(item_id uuid)
  returns learning.content_items
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_item learning.content_items := private.lock_content_item(delete_content.item_id);
begin
  update learning.content_items i
  set deleted_at = coalesce(i.deleted_at, clock_timestamp())
  where i.id = v_item.id
  returning i.* into v_item;
  return v_item;
end
$$;

comment on function learning.delete_content(uuid) is
  'Hides an item, and all parts of a course, and keeps all data. Needs edit_content (PL403); PL404 for an unknown item.';
grant execute on function learning.delete_content(uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/delete_content.sql
--! Included learning/functions/gives_access.sql
create or replace function learning.gives_access(reason text)
  returns boolean
  language sql
  immutable
  parallel safe
as $$
  select reason in ('editor', 'author', 'preview', 'permission', 'plan')
$$;

comment on function learning.gives_access(text) is E'@behavior -*\nReturns whether a reason grants access: editor, author, preview, permission or plan.';
grant execute on function learning.gives_access(text) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/gives_access.sql
--! Included learning/functions/has_completed.sql
-- The only definition of completion. Completion of any version counts: a new version of an item does not close what its
-- completion has opened, and neither does a part added later to a completed course. A course whose parts are all completed is
-- itself completed: its last missing part may have been withdrawn.
create or replace function learning.has_completed(user_id uuid, item_id uuid)
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
begin
  return learning.may_ask_about(user_id)
    and (
      exists (
        select
        from learning.content_progress p
        where p.user_id = has_completed.user_id
          and p.item_id = has_completed.item_id
          and p.completed_at is not null
      )
      or private.has_completed_parts(has_completed.user_id, has_completed.item_id)
    );
end
$$;

comment on function learning.has_completed(uuid, uuid) is
  E'@behavior -*\n'
  'Returns whether the user has completed the item in any version, or all parts of the course; false for a caller who may not '
  'know.';
grant execute on function learning.has_completed(uuid, uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/has_completed.sql
--! Included learning/functions/is_content_editor.sql
-- Definer rights: the caller may not read other users' roles, and has_permission() concerns the caller only.
create or replace function learning.is_content_editor(user_id uuid)
  returns boolean
  language sql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select case
    when is_content_editor.user_id = plinth.current_user_id() then access.has_permission('edit_content')
    else learning.may_ask_about(is_content_editor.user_id) and exists (
      select
      from access.user_roles ur
      join access.role_permissions rp on rp.role_id = ur.role_id
      join access.permissions p on p.id = rp.permission_id
      where ur.user_id = is_content_editor.user_id
        and (ur.expires_at is null or ur.expires_at > now())
        and p.permission_name = 'edit_content'
    )
  end
$$;

comment on function learning.is_content_editor(uuid) is
  E'@behavior -*\nReturns whether the user holds edit_content; false for a caller who may not know.';
grant execute on function learning.is_content_editor(uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/is_content_editor.sql
--! Included learning/functions/is_prerequisite_met.sql
-- Whether a prerequisite is satisfied: completed, or not available and therefore impossible to complete. Definer rights: it is
-- called for items that the caller may not see.
create or replace function learning.is_prerequisite_met(user_id uuid, required_item_id uuid)
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
begin
  return not exists (
    select
    from learning.content_items i
    where i.id = is_prerequisite_met.required_item_id
      and i.available_from <= now()
      and (i.available_until is null or i.available_until > now())
  ) or learning.has_completed(is_prerequisite_met.user_id, is_prerequisite_met.required_item_id);
end
$$;

comment on function learning.is_prerequisite_met(uuid, uuid) is
  E'@behavior -*\nReturns whether the user has completed the item, or no user can because it is not available.';
grant execute on function learning.is_prerequisite_met(uuid, uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/is_prerequisite_met.sql
--! Included learning/functions/lock_prerequisites.sql
-- Prerequisites must be satisfiable: no item may depend on itself, directly or through others. Changes are serialized, for the
-- reason given at learning.lock_content_tree.
create or replace function learning.lock_prerequisites()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  update private.content_locks l set taken = l.taken + 1 where l.lock_name = 'prerequisites';
  return null;
end
$$;

comment on function learning.lock_prerequisites() is 'Trigger: serializes changes of prerequisites.';
--! EndIncluded learning/functions/lock_prerequisites.sql
--! Included learning/functions/may_ask_about.sql
-- The callers who may ask about a user's access: the user, users who manage access, and psql or a job outside the API. Every
-- function that takes a user as an argument checks this first.
create or replace function learning.may_ask_about(user_id uuid)
  returns boolean
  language sql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select case
    when may_ask_about.user_id = plinth.current_user_id() then true
    -- The owner, or a function of the owner that a job runs.
    when pg_has_role(session_user, current_user, 'member') then true
    else access.has_permission('manage_content_access')
  end
$$;

comment on function learning.may_ask_about(uuid) is
  E'@behavior -*\nReturns whether the caller may know what a user has access to.';
grant execute on function learning.may_ask_about(uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/may_ask_about.sql
--! Included learning/functions/move_category.sql
-- Moves a subtree. Invoker rights: the policies of learning.content_categories decide which callers may.
create or replace function learning.move_category(category_id uuid, new_parent_id uuid default null)
  returns learning.content_categories
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_result learning.content_categories;
begin
  update learning.content_categories c
  set parent_id = move_category.new_parent_id
  where c.id = move_category.category_id
  returning c.* into v_result;
  if v_result.id is null then
    raise exception 'Category not found, or you may not move it.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function learning.move_category(uuid, uuid) is
  'Moves a category and its subcategories under another category, or to the top. Needs edit_content (PL404); PL409 for a move below itself.';
grant execute on function learning.move_category(uuid, uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/move_category.sql
--! Included learning/functions/pause_training.sql
create or replace function learning.pause_training(skill_id uuid)
  returns learning.training
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.lock_own_account();
  v_result learning.training;
begin
  update learning.training t
  set status = 'pending'
  where t.user_id = v_user_id and t.skill_id = pause_training.skill_id
  returning * into v_result;
  if not found then
    raise exception 'Training not found.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function learning.pause_training(uuid) is
  'Pauses the signed-in user''s training; its progress is kept. PL404 when there is none, PL409 when it is completed.';
grant execute on function learning.pause_training(uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/pause_training.sql
--! Included learning/functions/publish_content.sql
-- Publishing a published item again changes only the given window, so a retry is harmless.
create or replace function learning.publish_content(
  item_id uuid, publish_from timestamptz default null, publish_until timestamptz default null
)
  returns learning.content_items
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_item learning.content_items := private.lock_content_item(publish_content.item_id);
  v_version integer;
begin
  if v_item.deleted_at is not null then
    raise exception 'The content is deleted.' using errcode = 'PL409', hint = 'Restore it first.';
  end if;
  update learning.content_versions v
  set published_at = clock_timestamp()
  where v.item_id = v_item.id and v.published_at is null
  returning v.version into v_version;
  if v_version is null then
    select max(v.version) into v_version from learning.content_versions v where v.item_id = v_item.id;
  end if;
  if v_version is null then
    -- A course may consist of lessons only.
    if v_item.content_type <> 'course' then
      raise exception 'The content has no text to publish.'
        using errcode = 'PL422', hint = 'Save a draft first.', schema = 'learning', table = 'content_items', column = 'item_id';
    end if;
    v_version := 1;
    insert into learning.content_versions (item_id, version, published_at) values (v_item.id, 1, clock_timestamp());
  end if;
  update learning.content_items i
  set
    current_version = v_version,
    publish_from = coalesce(publish_content.publish_from, i.publish_from, now()),
    publish_until = coalesce(publish_content.publish_until, i.publish_until)
  where i.id = v_item.id
  returning i.* into v_item;
  return v_item;
end
$$;

comment on function learning.publish_content(uuid, timestamptz, timestamptz) is
  'Publishes an item''s draft, or its newest version again, now or within a window. Needs edit_content (PL403); PL404 for an unknown item, PL409 for a deleted one, PL422 without a text.';
grant execute on function learning.publish_content(uuid, timestamptz, timestamptz) to :PLINTH_USER;
--! EndIncluded learning/functions/publish_content.sql
--! Included learning/functions/rate_content.sql
-- A user rates an item once: rating again changes it, so a retry is harmless. Invoker rights: the policies decide which
-- callers may.
create or replace function learning.rate_content(item_id uuid, rating integer, review text default '')
  returns learning.content_ratings
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_result learning.content_ratings;
begin
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  if rate_content.rating not between 1 and 5 then
    raise exception 'A rating must be from 1 to 5.' using errcode = 'PL422', schema = 'learning', table = 'content_ratings', column = 'rating';
  end if;
  if not (select a.has_access from learning.content_access(array[rate_content.item_id]) a) then
    raise exception 'Content not found, or you may not read it.' using errcode = 'PL404';
  end if;
  insert into learning.content_ratings as r (item_id, rating, review)
  values (rate_content.item_id, rate_content.rating, coalesce(rate_content.review, ''))
  on conflict on constraint content_ratings_pkey
  do update set rating = excluded.rating, review = excluded.review
  returning r.* into v_result;
  return v_result;
end
$$;

comment on function learning.rate_content(uuid, integer, text) is
  'Rates an item from 1 to 5, or changes the caller''s rating. PL401 for visitors, PL404 for an item the caller may not read, PL422 for another number.';
grant execute on function learning.rate_content(uuid, integer, text) to :PLINTH_USER;
--! EndIncluded learning/functions/rate_content.sql
--! Included learning/functions/read_content.sql
-- Returns an item's text, or reports why not: a visible denial, where a policy alone would return nothing.
create or replace function learning.read_content(item_id uuid)
  returns learning.content_bodies
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_reason text := (select a.reason from learning.content_access(array[read_content.item_id]) a);
  v_result learning.content_bodies;
begin
  case v_reason
    when 'denied' then
      raise exception 'Your access to this content was withdrawn.' using errcode = 'PL403', hint = v_reason;
    when 'sign_in_required' then
      raise exception 'You must be signed in.' using errcode = 'PL401', hint = v_reason;
    when 'plan_required' then
      raise exception 'Your plan does not include this content.' using errcode = 'PL403', hint = v_reason;
    when 'prerequisites_missing' then
      raise exception 'You must complete other content first.' using errcode = 'PL403', hint = v_reason;
    else
      select b.* into v_result
      from learning.content_items i
      join learning.content_bodies b on b.item_id = i.id and b.version = i.current_version
      where i.id = read_content.item_id;
  end case;
  if v_result.item_id is null then
    raise exception 'Content not found, or it has no text.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function learning.read_content(uuid) is
  'Returns the published text of an item. PL401 or PL403 with the reason as hint (denied, sign_in_required, plan_required, prerequisites_missing), PL404 when there is none.';
grant execute on function learning.read_content(uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/read_content.sql
--! Included learning/functions/recommend_items.sql
-- Recommends items to learn next, with reasons. A few hundred candidates are found by index (begun, next in a begun course,
-- teaching a skill that the user trains or has, popular, new); the access rule is applied only to these, and the rest are
-- scored. Every number in the score is a column.
create or replace function learning.recommend_items(max_count integer default 10)
  returns table (
    item_id uuid,
    slug text,
    title text,
    reason text,
    score numeric,
    level_fit numeric,
    popularity numeric,
    trains_skill boolean,
    is_begun boolean,
    is_next_in_course boolean,
    item_level integer,
    user_level numeric,
    skill_names text[],
    prerequisites_completed integer
  )
  language plpgsql
  stable
  security definer
  rows 10
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.require_user_id();
  v_general_level numeric;
  v_candidates uuid[];
  v_limit integer;
begin
  v_limit := plinth.checked_count(max_count, 'max_count', 10, 100);
  -- An item without skills is compared with the user's overall level.
  select coalesce(avg(us.level), 0) into v_general_level from learning.user_skills us where us.user_id = v_user_id;

  v_candidates := array(
    (
      select p.item_id
      from learning.content_progress p
      where p.user_id = v_user_id and p.completed_at is null
      order by p.last_activity_at desc
      limit 100
    )
    union
    -- The first part of each begun course that is not completed.
    select part.id
    from (
      select distinct i.course_id
      from learning.content_progress p
      join learning.content_items i on i.id = p.item_id
      where p.user_id = v_user_id and i.course_id is not null
    ) begun
    cross join lateral (
      select i.id
      from learning.content_items i
      where i.course_id = begun.course_id
        and i.available_from <= now()
        and not exists (
          select
          from learning.content_progress p
          where p.user_id = v_user_id and p.item_id = i.id and p.completed_at is not null
        )
      order by i.position, i.id
      limit 1
    ) part
    union
    (
      select cs.item_id
      from learning.user_skills us
      join learning.content_skills cs on cs.skill_id = us.skill_id
      join learning.content_items i on i.id = cs.item_id
      left join learning.training t on t.user_id = us.user_id and t.skill_id = us.skill_id
      where us.user_id = v_user_id
        and i.available_from <= now()
        and not exists (
          select
          from learning.content_progress p
          where p.user_id = v_user_id and p.item_id = i.id and p.completed_at is not null
        )
      order by t.status = 'active' desc nulls last, abs(i.level - us.level), i.id
      limit 200
    )
    union
    (select cp.item_id from analytics.content_popularity cp order by cp.popularity_score desc limit 200)
    union
    (select i.id from learning.content_items i where i.available_from <= now() order by i.available_from desc, i.id limit 100)
  );

  return query
    with candidates as (
      select
        i.id, i.slug, i.title, i.level, i.course_id, i.position,
        p.user_id is not null as is_begun,
        coalesce(cp.popularity_score, 0) as popularity_score,
        s.skill_names,
        coalesce(s.trains_skill, false) as trains_skill,
        coalesce(s.user_level, v_general_level) as user_level
      from learning.my_content_access a
      join learning.content_items i on i.id = a.content_id
      left join learning.content_progress p on p.user_id = v_user_id and p.item_id = i.id
      left join analytics.content_popularity cp on cp.item_id = i.id
      left join lateral (
        select
          array_agg(sk.skill_name order by sk.skill_name) as skill_names,
          bool_or(t.status = 'active') as trains_skill,
          max(coalesce(us.level, 0)) as user_level
        from learning.content_skills cs
        join learning.skills sk on sk.id = cs.skill_id and sk.is_active
        left join learning.user_skills us on us.user_id = v_user_id and us.skill_id = cs.skill_id
        left join learning.training t on t.user_id = v_user_id and t.skill_id = cs.skill_id
        where cs.item_id = i.id
      ) s on true
      where a.content_id = any (v_candidates)
        and a.has_access
        -- An editor has access to everything, including content that is not available to learners.
        and i.available_from <= now()
        and (i.available_until is null or i.available_until > now())
        and i.content_type <> 'course'
        and p.completed_at is null
        -- Regardless of the reason for access, items whose prerequisites are missing are not recommended.
        and not exists (
          select
          from learning.content_prerequisites pr
          join learning.content_items required on required.id = pr.required_item_id
          where pr.item_id in (i.id, i.course_id)
            and required.available_from <= now()
            and (required.available_until is null or required.available_until > now())
            and not learning.has_completed(v_user_id, required.id)
        )
        -- Only the next part of a course.
        and (i.course_id is null or p.user_id is not null or not exists (
          select
          from learning.content_items earlier
          left join learning.content_progress done on done.user_id = v_user_id and done.item_id = earlier.id
          where earlier.course_id = i.course_id
            and (earlier.position, earlier.id) < (i.position, i.id)
            and earlier.available_from <= now()
            and (earlier.available_until is null or earlier.available_until > now())
            and done.completed_at is null
        ))
    ),
    measured as (
      select
        c.*,
        round(1 - abs(c.level - c.user_level) / 10, 4) as level_fit,
        round(c.popularity_score / nullif(max(c.popularity_score) over (), 0), 4) as popularity,
        c.course_id is not null and exists (
          select
          from learning.content_items sibling
          join learning.content_progress p on p.item_id = sibling.id and p.user_id = v_user_id
          where sibling.course_id = c.course_id
        ) as is_next_in_course,
        (
          select count(*)::integer from learning.content_prerequisites pr where pr.item_id in (c.id, c.course_id)
        ) as prerequisites_completed
      from candidates c
    )
    select
      m.id, m.slug, m.title,
      case
        when m.is_begun then 'begun'
        when m.is_next_in_course then 'next_in_course'
        when m.trains_skill then 'trains_skill'
        when m.popularity >= 0.5 then 'popular'
        when m.level_fit >= 0.8 then 'fits_level'
        else 'available'
      end,
      0.4 * m.level_fit + 0.2 * coalesce(m.popularity, 0) + 0.2 * m.trains_skill::integer
        + 0.1 * m.is_begun::integer + 0.1 * m.is_next_in_course::integer,
      m.level_fit, coalesce(m.popularity, 0), m.trains_skill, m.is_begun, m.is_next_in_course,
      m.level::integer, m.user_level, coalesce(m.skill_names, '{}'), m.prerequisites_completed
    from measured m
    order by 5 desc, m.id
    limit v_limit;
end
$$;

comment on function learning.recommend_items(integer) is
  E'Returns the items that the signed-in user may learn next, best first: available, accessible, not completed, with all '
  'prerequisites completed, and only the next part of a course.\n'
  'score = 0.4 × level_fit + 0.2 × popularity + 0.2 × trains_skill + 0.1 × is_begun + 0.1 × is_next_in_course.\n'
  'level_fit is 1 - |item_level - user_level| / 10, popularity the share of the most popular candidate''s score. reason is the '
  'first that applies: begun, next_in_course, trains_skill, popular (0.5 and more), fits_level (0.8 and more), available.';
grant execute on function learning.recommend_items(integer) to :PLINTH_USER;
--! EndIncluded learning/functions/recommend_items.sql
--! Included learning/functions/record_content_before.sql
-- Any change to the parts of a course or to the items of a training records the users who have thereby completed it, and no
-- later change undoes that: deleting, withdrawing, moving, correcting a duration, and adding or removing what teaches a skill.

-- Completions by time are recorded before the content changes: later they would be computed from other content.
create or replace function learning.record_content_before()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  while private.record_due_completions(1000) = 1000 loop
  end loop;
  return null;
end
$$;

comment on function learning.record_content_before() is 'Trigger: records completions by time before content changes.';
--! EndIncluded learning/functions/record_content_before.sql
--! Included learning/functions/record_heartbeat.sql
create or replace function learning.record_heartbeat(
  item_id uuid,
  event_id uuid,
  from_seconds integer,
  to_seconds integer,
  active_seconds integer default null,
  occurred_at timestamptz default null,
  version integer default null
)
  returns learning.content_progress
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  -- A plan for these values would prune partitions and appear cheaper; planning costs more than all the rest.
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.require_user_id();
  v_active_seconds constant integer := coalesce(active_seconds, to_seconds - from_seconds);
  v_occurred_at constant timestamptz := coalesce(occurred_at, now());
  v_problem constant text := private.heartbeat_problem(event_id, from_seconds, to_seconds, v_active_seconds, v_occurred_at);
  v_open record;
  v_progress learning.content_progress;
begin
  if v_problem is not null then
    raise exception 'Invalid heartbeat.'
      using errcode = 'PL422', schema = 'learning', table = 'content_progress', column = v_problem,
        hint = 'The played part must not end before it starts, and may be at most 4 times as long as the active time. The active time is at most 600 seconds, and the heartbeat at most 30 days old.';
  end if;
  v_open := private.open_for_recording(item_id, version);
  if v_open.reason is not null then
    perform private.refuse_recording(v_open.reason);
  end if;
  v_progress := private.apply_heartbeat(
    v_user_id, item_id, event_id, v_open.playable_version, v_open.duration_seconds,
    from_seconds, to_seconds, v_active_seconds, v_occurred_at, v_open.access_checked_at,
    private.heartbeat_digest(item_id, from_seconds, to_seconds, v_active_seconds, occurred_at, version)
  );
  if v_progress.completed_version is distinct from v_progress.credited_version then
    perform private.credit_completions(v_user_id, array[item_id]);
    v_progress.credited_version := v_progress.completed_version;
  end if;
  return v_progress;
end
$$;

comment on function learning.record_heartbeat(uuid, uuid, integer, integer, integer, timestamptz, integer) is
  E'@resultFieldName progress\n'
  'Records that the signed-in user played an item from one second to another, in active_seconds (if omitted, the length played) '
  'that ended at occurred_at (default now), in its current or the given version. Each event_id is recorded once, in any order, '
  'up to 30 days late. PL401, PL403 with the reason as hint, PL404, PL409 for an event_id that was used for another heartbeat, '
  'PL422.';
grant execute on function learning.record_heartbeat(uuid, uuid, integer, integer, integer, timestamptz, integer) to :PLINTH_USER;
--! EndIncluded learning/functions/record_heartbeat.sql
--! Included learning/functions/record_heartbeats.sql
-- Heartbeats that a device collected while offline. A rejected heartbeat does not hold up the others; otherwise it would block
-- its queue forever. Rows are locked in one order before anything is written, so that two devices cannot deadlock.
create or replace function learning.record_heartbeats(heartbeats jsonb)
  returns setof learning.heartbeat_result
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  -- A plan for these values would prune partitions and appear cheaper; planning costs more than all the rest.
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_user_id uuid;
  v_element jsonb;
  v_readable jsonb[] := '{}';
  v_heartbeat record;
  v_open record;
  v_recorded record;
  v_progress learning.content_progress;
  v_completed uuid[] := '{}';
  v_result learning.heartbeat_result;
begin
  v_user_id := private.lock_own_account();
  if jsonb_typeof(heartbeats) is distinct from 'array' or jsonb_array_length(heartbeats) > 500 then
    raise exception 'heartbeats must be a list of at most 500 objects.'
      using errcode = 'PL422', schema = 'learning', table = 'content_progress', column = 'heartbeats';
  end if;
  if jsonb_path_exists(heartbeats, '$[*] ? (@.type() != "object")') then
    raise exception 'Each of the heartbeats must be an object.'
      using errcode = 'PL422', schema = 'learning', table = 'content_progress', column = 'heartbeats';
  end if;
  for v_element in select e.value from jsonb_array_elements(heartbeats) e loop
    begin
      select f.* into v_heartbeat from private.heartbeat_fields(v_element) f;
      v_readable := v_readable || v_element;
    exception
      when data_exception then
        v_result := (
          case when v_element ->> 'eventId' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then (v_element ->> 'eventId')::uuid end,
          null, 'refused', 'malformed'
        );
        return next v_result;
    end;
  end loop;
  perform p.item_id
  from learning.content_progress p
  where p.user_id = v_user_id
    and p.item_id in (select (h ->> 'itemId')::uuid from unnest(v_readable) h)
  order by p.item_id
  for no key update;

  for v_heartbeat in
    select
      f.*,
      private.heartbeat_digest(
        f.item_id, f.from_seconds, f.to_seconds, f.active_seconds,
        case when e ->> 'occurredAt' is not null then f.occurred_at end, f.version
      ) as digest
    from unnest(v_readable) e
    cross join lateral private.heartbeat_fields(e) f
    order by f.item_id, f.occurred_at, f.event_id
  loop
    v_result.event_id := v_heartbeat.event_id;
    v_result.item_id := v_heartbeat.item_id;
    v_result.outcome := 'refused';
    v_result.reason := private.heartbeat_problem(
      v_heartbeat.event_id, v_heartbeat.from_seconds, v_heartbeat.to_seconds, v_heartbeat.active_seconds, v_heartbeat.occurred_at
    );
    if v_result.reason is null then
      v_open := private.open_for_recording(v_heartbeat.item_id, v_heartbeat.version);
      v_result.reason := v_open.reason;
    end if;
    if v_result.reason is null then
      select r.digest into v_recorded
      from private.recorded_heartbeats r
      where r.user_id = v_user_id and r.event_id = v_heartbeat.event_id;
      if found and v_recorded.digest <> v_heartbeat.digest then
        v_result.reason := 'event_id';
      else
        v_result.outcome := case when found then 'repeated' else 'recorded' end;
      end if;
    end if;
    if v_result.reason is null then
      v_progress := private.apply_heartbeat(
        v_user_id, v_heartbeat.item_id, v_heartbeat.event_id, v_open.playable_version, v_open.duration_seconds,
        v_heartbeat.from_seconds, v_heartbeat.to_seconds, v_heartbeat.active_seconds, v_heartbeat.occurred_at,
        v_open.access_checked_at, v_heartbeat.digest
      );
      if v_progress.completed_version is distinct from v_progress.credited_version then
        v_completed := v_completed || v_heartbeat.item_id;
      end if;
    end if;
    return next v_result;
  end loop;
  if v_completed <> '{}' then
    perform private.credit_completions(v_user_id, v_completed);
  end if;
end
$$;

comment on function learning.record_heartbeats(jsonb) is
  E'@resultFieldName results\n'
  'Records up to 500 heartbeats, a list of {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version} as in '
  'record_heartbeat, such as those collected offline. Reports for each whether it was recorded, repeated or refused, and why '
  '(malformed for an unreadable one). PL401, PL422.';
grant execute on function learning.record_heartbeats(jsonb) to :PLINTH_USER;
--! EndIncluded learning/functions/record_heartbeats.sql
--! Included learning/functions/record_training_progress.sql
-- Progress is recorded by others than the learner: by completed items, or by a trainer.
create or replace function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric)
  returns learning.training
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_result learning.training;
begin
  perform private.require_user_id();
  if not access.has_permission('manage_skills') then
    raise exception 'You need the permission manage_skills.' using errcode = 'PL403';
  end if;
  if record_training_progress.progress is null or record_training_progress.progress not between 0 and 1 then
    raise exception 'progress must be from 0 to 1.'
      using errcode = 'PL422', schema = 'learning', table = 'training', column = 'progress';
  end if;
  perform from identity.users u where u.id = record_training_progress.user_id for key share;
  select t.* into v_result
  from learning.training t
  where t.user_id = record_training_progress.user_id and t.skill_id = record_training_progress.skill_id
  for no key update;
  if not found then
    raise exception 'Training not found.' using errcode = 'PL404';
  end if;
  -- A late or repeated report never reduces progress.
  if trunc(record_training_progress.progress, 4) <= v_result.progress then
    return v_result;
  end if;
  update learning.training t
  set progress = trunc(record_training_progress.progress, 4)
  where t.user_id = v_result.user_id and t.skill_id = v_result.skill_id
  returning * into v_result;
  return v_result;
end
$$;

comment on function learning.record_training_progress(uuid, uuid, numeric) is
  'Records the progress of a user''s active training, from 0 to 1; 1 completes it. A value below the current progress changes nothing. Needs manage_skills. PL404 when there is no such training, PL409 when it is not active.';
grant execute on function learning.record_training_progress(uuid, uuid, numeric) to :PLINTH_USER;
--! EndIncluded learning/functions/record_training_progress.sql
--! Included learning/functions/restart_training.sql
create or replace function learning.restart_training(skill_id uuid)
  returns learning.training
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.lock_own_account();
  v_result learning.training;
begin
  perform private.lock_completions(false);
  update learning.training t
  set status = 'active'
  where t.user_id = v_user_id and t.skill_id = restart_training.skill_id
  returning * into v_result;
  if not found then
    raise exception 'Training not found.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function learning.restart_training(uuid) is
  'Restarts the signed-in user''s completed training, as its next run from 0; one that is not completed continues. PL404 when there is none.';
grant execute on function learning.restart_training(uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/restart_training.sql
--! Included learning/functions/restore_content.sql
create or replace function learning.restore_content(item_id uuid)
  returns learning.content_items
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_item learning.content_items := private.lock_content_item(restore_content.item_id);
begin
  update learning.content_items i
  set deleted_at = null
  where i.id = v_item.id
  returning i.* into v_item;
  return v_item;
end
$$;

comment on function learning.restore_content(uuid) is
  'Restores a deleted item. Needs edit_content (PL403); PL404 for an unknown item.';
grant execute on function learning.restore_content(uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/restore_content.sql
--! Included learning/functions/save_draft.sql
create or replace function learning.save_draft(
  item_id uuid, body text default null, body_format text default 'markdown', change_note text default ''
)
  returns learning.content_versions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_item learning.content_items := private.lock_content_item(save_draft.item_id);
  v_draft learning.content_versions;
begin
  select * into v_draft from learning.content_versions v where v.item_id = v_item.id and v.published_at is null;
  if v_draft.item_id is null then
    insert into learning.content_versions as v (item_id, version, change_note)
    values (
      v_item.id,
      (select coalesce(max(o.version), 0) + 1 from learning.content_versions o where o.item_id = v_item.id),
      coalesce(save_draft.change_note, '')
    )
    returning v.* into v_draft;
  else
    update learning.content_versions v
    set change_note = coalesce(save_draft.change_note, '')
    where v.item_id = v_draft.item_id and v.version = v_draft.version
    returning v.* into v_draft;
  end if;
  if save_draft.body is null then
    delete from learning.content_bodies b where b.item_id = v_draft.item_id and b.version = v_draft.version;
  else
    insert into learning.content_bodies as b (item_id, version, body_format, body)
    values (v_draft.item_id, v_draft.version, coalesce(save_draft.body_format, 'markdown'), save_draft.body)
    on conflict on constraint content_bodies_pkey
    do update set body_format = excluded.body_format, body = excluded.body;
  end if;
  return v_draft;
end
$$;

comment on function learning.save_draft(uuid, text, text, text) is
  'Writes the draft of an item''s next version, replacing an earlier draft. Needs edit_content (PL403); PL404 for an unknown item.';
grant execute on function learning.save_draft(uuid, text, text, text) to :PLINTH_USER;
--! EndIncluded learning/functions/save_draft.sql
--! Included learning/functions/search_configuration.sql
-- The PostgreSQL text search configuration for a language: the part before the first hyphen decides, and a language without a
-- configuration is indexed word by word. Immutable, because a configuration of that name does not change its meaning.
create or replace function learning.search_configuration(language text)
  returns regconfig
  language sql
  immutable
  parallel safe
as $$
  select case split_part(language, '-', 1)
    when 'ar' then 'pg_catalog.arabic'::regconfig
    when 'ca' then 'pg_catalog.catalan'::regconfig
    when 'da' then 'pg_catalog.danish'::regconfig
    when 'de' then 'pg_catalog.german'::regconfig
    when 'el' then 'pg_catalog.greek'::regconfig
    when 'en' then 'pg_catalog.english'::regconfig
    when 'es' then 'pg_catalog.spanish'::regconfig
    when 'eu' then 'pg_catalog.basque'::regconfig
    when 'fi' then 'pg_catalog.finnish'::regconfig
    when 'fr' then 'pg_catalog.french'::regconfig
    when 'ga' then 'pg_catalog.irish'::regconfig
    when 'hi' then 'pg_catalog.hindi'::regconfig
    when 'hu' then 'pg_catalog.hungarian'::regconfig
    when 'hy' then 'pg_catalog.armenian'::regconfig
    when 'id' then 'pg_catalog.indonesian'::regconfig
    when 'it' then 'pg_catalog.italian'::regconfig
    when 'lt' then 'pg_catalog.lithuanian'::regconfig
    when 'nb' then 'pg_catalog.norwegian'::regconfig
    when 'ne' then 'pg_catalog.nepali'::regconfig
    when 'nl' then 'pg_catalog.dutch'::regconfig
    when 'nn' then 'pg_catalog.norwegian'::regconfig
    when 'no' then 'pg_catalog.norwegian'::regconfig
    when 'pt' then 'pg_catalog.portuguese'::regconfig
    when 'ro' then 'pg_catalog.romanian'::regconfig
    when 'ru' then 'pg_catalog.russian'::regconfig
    when 'sr' then 'pg_catalog.serbian'::regconfig
    when 'sv' then 'pg_catalog.swedish'::regconfig
    when 'ta' then 'pg_catalog.tamil'::regconfig
    when 'tr' then 'pg_catalog.turkish'::regconfig
    when 'yi' then 'pg_catalog.yiddish'::regconfig
    else 'pg_catalog.simple'::regconfig
  end
$$;

comment on function learning.search_configuration(text) is
  E'@behavior -*\nReturns the text search configuration of a language tag; simple if PostgreSQL has none.';
-- A stored column is computed with the rights of the user who writes the row.
grant execute on function learning.search_configuration(text) to :PLINTH_USER;
--! EndIncluded learning/functions/search_configuration.sql
--! Included learning/functions/search_content.sql
-- Searches with the owner's rights and the public rule written out, because row security would prevent use of the index: the
-- planner may not let an operator see a row before the policy has.
-- Plans are made for the given filters.
create or replace function learning.search_content(
  query text default '',
  language text default null,
  content_types text[] default null,
  category_id uuid default null,
  tags text[] default null,
  min_level integer default null,
  max_level integer default null,
  max_results integer default 20,
  skip integer default 0
)
  returns table (item learning.content_items, rank real, title_html text, summary_html text, is_similar boolean)
  language plpgsql
  stable
  security definer
  rows 20
  set search_path = pg_catalog
  set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_variable
declare
  v_text constant text := left(btrim(coalesce(query, '')), 500);
  v_terms record;
  v_categories constant uuid[] := case when category_id is not null
    then coalesce(private.content_subtree(category_id), '{}') end;
  v_tags constant text[] := array(select lower(btrim(t)) from unnest(tags) as t);
  v_limit constant integer := plinth.checked_count(max_results, 'max_results', 20, 100);
  v_skip constant integer := greatest(coalesce(skip, 0), 0);
begin
  select * into v_terms from private.content_search_terms(v_text, language);

  if v_text = '' then
    -- Without a query: newest first.
    return query
      select m, null::real, private.escape_html(m.title), private.escape_html(m.summary), false
      from private.content_matching(
        null, v_terms.languages, null, null, content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      ) m
      order by m.available_from desc, m.id
      limit v_limit offset v_skip;
    return;
  end if;

  if numnode(v_terms.any_query) > 0 then
    return query
      with hits as (
        select
          m.id,
          ts_rank(
            m.search_document,
            case when cardinality(v_terms.queries) = 1 then v_terms.any_query
              else v_terms.queries[array_position(v_terms.languages, m.language)] end
          ) as rank
        from private.content_matching(
          v_terms.any_query, v_terms.languages, v_terms.queries, null,
          content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
        ) m
        order by 2 desc, 1
        limit v_limit offset v_skip
      )
      -- Marks are set only for the page.
      select
        i,
        h.rank,
        plinth.search_headline(
          i.language, i.title, v_terms.queries[array_position(v_terms.languages, i.language)], 'HighlightAll=true'
        ),
        plinth.search_headline(
          i.language, i.summary, v_terms.queries[array_position(v_terms.languages, i.language)], 'MaxWords=40, MinWords=20'
        ),
        false
      from hits h
      join learning.content_items i on i.id = h.id
      order by h.rank desc, i.id;
    -- A later page may be empty while an earlier one was not.
    if found or exists (
      select
      from private.content_matching(
        v_terms.any_query, v_terms.languages, v_terms.queries, null,
        content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      )
    ) then
      return;
    end if;
  end if;

  -- If no item has these words: the most similar titles, with their matching words marked.
  perform private.look_for_similar_titles();
  return query
    with hits as (
      select m.id, plinth.word_similarity(v_text, m.title) as rank
      from private.content_matching(
        null, v_terms.languages, null, v_text, content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      ) m
      order by 2 desc, 1
      limit v_limit offset v_skip
    )
    select
      i,
      h.rank,
      ts_headline(
        'pg_catalog.simple', private.escape_html(i.title), websearch_to_tsquery('pg_catalog.simple', alike.words),
        'StartSel=<mark>, StopSel=</mark>, HighlightAll=true'
      ),
      private.escape_html(i.summary),
      true
    from hits h
    join learning.content_items i on i.id = h.id
    cross join lateral (
      select coalesce(string_agg(format('"%s"', t.word), ' or '), '') as words
      from regexp_split_to_table(i.title, '[^[:alnum:]]+') as t (word)
      where t.word <> ''
        and exists (
          select from regexp_split_to_table(v_text, '[^[:alnum:]]+') as a (word)
          where a.word <> '' and plinth.similarity(a.word, t.word) >= 0.25
        )
    ) alike
    order by h.rank desc, i.id;
end
$$;

comment on function learning.search_content(text, text, text[], uuid, text[], integer, integer, integer, integer) is
  E'Searches available content by title, tags and summary, best first; without a query, newest first.\n'
  'query: words, "a phrase", or, -not. language: only that language and its regional variants; by default each item is searched '
  'in its own. categoryId: with all subcategories. tags: all of them. maxResults: up to 100.\n'
  'titleHtml and summaryHtml are escaped, with <mark> around matches. isSimilar: no item has the words; these titles are '
  'similar.';
grant execute on function learning.search_content(text, text, text[], uuid, text[], integer, integer, integer, integer)
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/search_content.sql
--! Included learning/functions/start_training.sql
create or replace function learning.start_training(skill_id uuid)
  returns learning.training
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.lock_own_account();
  v_result learning.training;
begin
  if not exists (select from learning.skills s where s.id = start_training.skill_id and s.is_active) then
    raise exception 'Skill not found.'
      using errcode = 'PL404', schema = 'learning', table = 'training', column = 'skill_id';
  end if;
  -- It begins with the items already completed; see private.record_completions.
  perform private.lock_completions(false);
  insert into learning.user_skills (user_id, skill_id) values (v_user_id, start_training.skill_id) on conflict do nothing;
  insert into learning.training as t (user_id, skill_id, status)
  values (v_user_id, start_training.skill_id, 'active')
  on conflict (user_id, skill_id) do update set status = 'active' where t.status = 'pending'
  returning * into v_result;
  if not found then
    select t.* into v_result
    from learning.training t
    where t.user_id = v_user_id and t.skill_id = start_training.skill_id;
  end if;
  if v_result.status = 'completed' then
    raise exception 'This training is already completed.'
      using errcode = 'PL409', hint = 'Restart the training instead.', schema = 'learning', table = 'training', column = 'status';
  end if;
  return v_result;
end
$$;

comment on function learning.start_training(uuid) is
  'Starts the signed-in user''s training in a skill, or resumes it after a pause; an active one is unchanged. PL404 for an unknown skill, PL409 for a completed training.';
grant execute on function learning.start_training(uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/start_training.sql
--! Included learning/functions/sum_progress.sql
-- Progress of the caller as a field of items, courses and categories: sums of learning.my_item_progress.

create or replace function learning.sum_progress(
  item_count bigint,
  completed_count bigint,
  progress_sum numeric,
  active_seconds numeric,
  last_activity_at timestamptz
)
  returns learning.progress_summary
  language sql
  immutable
as $$
  select row(
    item_count::integer,
    completed_count::integer,
    coalesce(trunc(progress_sum / nullif(item_count, 0), 4), 0),
    coalesce(active_seconds, 0)::bigint,
    last_activity_at
  )::learning.progress_summary
$$;

comment on function learning.sum_progress(bigint, bigint, numeric, numeric, timestamptz) is
  E'@behavior -*\nCombines sums over items into a summary; progress is their average.';
grant execute on function learning.sum_progress(bigint, bigint, numeric, numeric, timestamptz) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/sum_progress.sql
--! Included learning/functions/time_spent.sql
-- Time spent with several items is not a plain sum: a user with two of them open at once spent that time once. Seconds recorded
-- before their times were stored count as they are.
create or replace function learning.time_spent(active_seconds numeric, stretches int4multirange[])
  returns bigint
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select (
    coalesce(active_seconds, 0)
    - coalesce((select sum(upper(r) - lower(r)) from unnest(stretches) s (active) cross join unnest(s.active) r), 0)
    + coalesce((
      select sum(upper(r) - lower(r))
      from (select range_agg(s.active) as active from unnest(stretches) s (active)) u
      cross join unnest(u.active) r
    ), 0)
  )::bigint
$$;

comment on function learning.time_spent(numeric, int4multirange[]) is
  E'@behavior -*\n'
  'Returns the seconds of several rows together, each second of the clock counted once: their sum and their known time ranges.';
grant execute on function learning.time_spent(numeric, int4multirange[]) to :PLINTH_ANONYMOUS, :PLINTH_USER, :PLINTH_ANALYST;
--! EndIncluded learning/functions/time_spent.sql
--! Included learning/functions/unpublish_content.sql
create or replace function learning.unpublish_content(item_id uuid)
  returns learning.content_items
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_item learning.content_items := private.lock_content_item(unpublish_content.item_id);
begin
  update learning.content_items i
  set current_version = null, publish_from = null, publish_until = null
  where i.id = v_item.id
  returning i.* into v_item;
  return v_item;
end
$$;

comment on function learning.unpublish_content(uuid) is
  'Withdraws an item, and all parts of a course. Its versions stay. Needs edit_content (PL403); PL404 for an unknown item.';
grant execute on function learning.unpublish_content(uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/unpublish_content.sql
--! Included learning/functions/user_plan_level.sql
-- The only place that asks billing for the access level of a user's plan. Definer rights: visitors have no grant on
-- subscriptions. In plpgsql, which caches plans: every page calls it.
create or replace function learning.user_plan_level(user_id uuid)
  returns integer
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
begin
  if user_id is distinct from plinth.current_user_id() and not learning.may_ask_about(user_id) then
    return 0;
  end if;
  return coalesce(
    (select max(s.access_level) from billing.active_user_subscriptions s where s.user_id = user_plan_level.user_id),
    0
  );
end
$$;

comment on function learning.user_plan_level(uuid) is
  E'@behavior -*\nReturns the access level of the user''s current plan; 0 without a plan, and for a caller who may not know.';
grant execute on function learning.user_plan_level(uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/user_plan_level.sql
--! Included learning/private/active_stretch.sql
-- Time spent is stored as the clock seconds it covers, so that each second counts once: two tabs, a retry under another id,
-- twenty heartbeats at one instant. A heartbeat of n seconds covers the n whole seconds before the second in which it ended.
-- Consecutive heartbeats therefore stay one stretch although each arrives some milliseconds early or late.
create or replace function private.active_stretch(ended_at timestamptz, seconds integer)
  returns int4multirange
  language sql
  stable
as $$
  select int4multirange(int4range(
    (floor(extract(epoch from ended_at)) - 946684800)::integer - seconds,
    (floor(extract(epoch from ended_at)) - 946684800)::integer
  ))
$$;

comment on function private.active_stretch(timestamptz, integer) is
  'Returns the whole seconds before a time, as seconds since the year 2000 (UTC).';
--! EndIncluded learning/private/active_stretch.sql
--! Included learning/private/add_skill_evidence.sql
-- The only way to raise or lower a level with a reason. A delta that would leave the range 0 to 10 is cut to fit, so that the
-- deltas always add up to the level. Locks the account before its rows, as everywhere; then the level, so that evidence for one
-- user and skill is recorded in sequence.
create or replace function private.add_skill_evidence(
  user_id uuid,
  skill_id uuid,
  kind text,
  delta numeric,
  source_key text default null,
  note text default null,
  digest bytea default null
)
  returns learning.skill_evidence
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_level numeric;
  v_result learning.skill_evidence;
begin
  perform from identity.users u where u.id = add_skill_evidence.user_id for key share;
  insert into learning.user_skills (user_id, skill_id)
  values (add_skill_evidence.user_id, add_skill_evidence.skill_id)
  on conflict do nothing;
  select us.level into v_level
  from learning.user_skills us
  where us.user_id = add_skill_evidence.user_id and us.skill_id = add_skill_evidence.skill_id
  for no key update;

  -- Already recorded: the first record counts.
  select e.* into v_result
  from learning.skill_evidence e
  where e.user_id = add_skill_evidence.user_id
    and e.skill_id = add_skill_evidence.skill_id
    and e.source_key = add_skill_evidence.source_key;
  if found then
    -- Evidence older than the digests is compared by its stored delta.
    perform private.refuse_other_request(coalesce(
      (select d.digest = add_skill_evidence.digest from private.request_digests d where d.skill_evidence_id = v_result.id),
      v_result.note is not distinct from add_skill_evidence.note
        and v_result.delta between least(add_skill_evidence.delta, 0) and greatest(add_skill_evidence.delta, 0)
    )) where add_skill_evidence.digest is not null;
    return v_result;
  end if;

  insert into learning.skill_evidence (user_id, skill_id, kind, delta, source_key, note, recorded_by)
  values (
    add_skill_evidence.user_id, add_skill_evidence.skill_id, add_skill_evidence.kind,
    least(greatest(v_level + add_skill_evidence.delta, 0), 10) - v_level,
    add_skill_evidence.source_key, add_skill_evidence.note, plinth.current_user_id()
  )
  returning * into v_result;
  if add_skill_evidence.digest is not null and add_skill_evidence.source_key is not null then
    insert into private.request_digests (user_id, skill_evidence_id, digest)
    values (v_result.user_id, v_result.id, add_skill_evidence.digest);
  end if;
  return v_result;
end
$$;

comment on function private.add_skill_evidence(uuid, uuid, text, numeric, text, text, bytea) is
  'Records evidence and moves the level by as much of delta as fits into 0 to 10. A known source_key changes nothing; PL409 if it was recorded with another digest.';
--! EndIncluded learning/private/add_skill_evidence.sql
--! Included learning/private/added_seconds.sql
-- The time that a heartbeat adds: its seconds that are not stored yet. No settings of its own, so that it is inlined into the
-- calling expression.
create or replace function private.added_seconds(active int4multirange, stretch int4multirange, seconds integer)
  returns integer
  language sql
  immutable
as $$
  select case when active && stretch then seconds - private.count_seconds(active * stretch) else seconds end
$$;

comment on function private.added_seconds(int4multirange, int4multirange, integer) is
  'Returns how many seconds of a stretch are not among the active ones yet.';
--! EndIncluded learning/private/added_seconds.sql
--! Included learning/private/advance_training.sql
-- Progress of a user's active training in a skill that items teach: the share of these items that are completed, in a later run
-- only since it began. It never decreases: a new item does not reduce it.
create or replace function private.advance_training(user_id uuid, skill_id uuid)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_training learning.training;
  v_share numeric;
begin
  select t.* into v_training
  from learning.training t
  where t.user_id = advance_training.user_id and t.skill_id = advance_training.skill_id and t.status = 'active'
  for no key update;
  if not found then
    return;
  end if;
  select trunc(count(p.completed_version)::numeric / nullif(count(*), 0), 4) into v_share
  from learning.content_skills cs
  join learning.content_items i on i.id = cs.item_id
  left join learning.content_progress p
    on p.item_id = i.id
    and p.user_id = v_training.user_id
    and (v_training.run = 1 or p.completed_at >= v_training.started_at)
  where cs.skill_id = v_training.skill_id
    and i.available_from <= now()
    and (i.available_until is null or i.available_until > now());
  if v_share > v_training.progress then
    update learning.training t
    set progress = v_share
    where t.user_id = v_training.user_id and t.skill_id = v_training.skill_id;
  end if;
end
$$;

comment on function private.advance_training(uuid, uuid) is
  'Sets the progress of a user''s active training to the share of the skill''s items that the user completed, if that is higher.';
--! EndIncluded learning/private/advance_training.sql
--! Included learning/private/apply_heartbeat.sql
-- Applies one heartbeat. Order does not matter: late, duplicate and reordered heartbeats give the same sums, covered stretches
-- and sessions. Callers have checked the values and the access. The deduplication key is inserted first: the foreign key locks
-- the account, which everywhere comes before its rows. Then the progress row, which is the lock of its user and item; then its
-- sessions.
create or replace function private.apply_heartbeat(
  user_id uuid,
  item_id uuid,
  event_id uuid,
  version integer,
  duration_seconds integer,
  from_seconds integer,
  to_seconds integer,
  active_seconds integer,
  occurred_at timestamptz,
  access_checked_at timestamptz,
  digest bytea
)
  returns learning.content_progress
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_gap constant interval := '30 minutes';
  v_occurred_at constant timestamptz := least(apply_heartbeat.occurred_at, now());
  v_began_at constant timestamptz := v_occurred_at - make_interval(secs => apply_heartbeat.active_seconds);
  v_covered constant int4multirange := int4multirange(int4range(apply_heartbeat.from_seconds, apply_heartbeat.to_seconds));
  v_stretch constant int4multirange := private.active_stretch(v_occurred_at, apply_heartbeat.active_seconds);
  v_session timestamptz;
  v_seconds integer;
  v_size integer;
  p learning.content_progress;
begin
  insert into private.recorded_heartbeats (user_id, event_id, digest)
  values (apply_heartbeat.user_id, apply_heartbeat.event_id, apply_heartbeat.digest)
  on conflict do nothing;
  if not found then
    if exists (
      select
      from private.recorded_heartbeats r
      where r.user_id = apply_heartbeat.user_id and r.event_id = apply_heartbeat.event_id and r.digest <> apply_heartbeat.digest
    ) then
      raise exception 'This event id was already used for another heartbeat.'
        using errcode = 'PL409', schema = 'learning', table = 'content_progress', column = 'event_id',
          hint = 'Use a new event id for each heartbeat.';
    end if;
    select t.* into p
    from learning.content_progress t
    where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id;
    return p;
  end if;

  -- Nearly every heartbeat is the latest of the version being played, and needs little work.
  update learning.content_progress t
  set covered = t.covered + v_covered,
    covered_seconds = private.covered_seconds(t.covered + v_covered, apply_heartbeat.duration_seconds),
    duration_seconds = apply_heartbeat.duration_seconds,
    position_seconds = apply_heartbeat.to_seconds,
    position_at = v_occurred_at,
    active_seconds = t.active_seconds + private.added_seconds(t.active, v_stretch, apply_heartbeat.active_seconds),
    active = t.active + v_stretch,
    started_at = least(t.started_at, v_began_at),
    last_activity_at = greatest(t.last_activity_at, v_occurred_at),
    access_checked_at = apply_heartbeat.access_checked_at
  where t.user_id = apply_heartbeat.user_id
    and t.item_id = apply_heartbeat.item_id
    and t.version = apply_heartbeat.version
    and t.position_at < v_occurred_at
  returning t.* into p;
  while p.user_id is null loop
    -- A newer version is another text: its covered stretches and position start over. The sessions keep what was seen of the
    -- previous version, and completed items stay completed. An older version adds only time.
    update learning.content_progress t
    set version = greatest(t.version, apply_heartbeat.version),
      covered = case
        when apply_heartbeat.version = t.version then t.covered + v_covered
        when apply_heartbeat.version > t.version then v_covered
        else t.covered
      end,
      covered_seconds = case
        when apply_heartbeat.version = t.version
          then private.covered_seconds(t.covered + v_covered, apply_heartbeat.duration_seconds)
        when apply_heartbeat.version > t.version
          then private.covered_seconds(v_covered, apply_heartbeat.duration_seconds)
        else t.covered_seconds
      end,
      duration_seconds = apply_heartbeat.duration_seconds,
      position_seconds = case
        when (apply_heartbeat.version, v_occurred_at, apply_heartbeat.to_seconds)
          > (t.version, coalesce(t.position_at, '-infinity'), t.position_seconds)
          then apply_heartbeat.to_seconds
        else t.position_seconds
      end,
      position_at = case
        when (apply_heartbeat.version, v_occurred_at) > (t.version, coalesce(t.position_at, '-infinity')) then v_occurred_at
        else t.position_at
      end,
      active_seconds = t.active_seconds + private.added_seconds(t.active, v_stretch, apply_heartbeat.active_seconds),
      active = t.active + v_stretch,
      started_at = least(t.started_at, v_began_at),
      last_activity_at = greatest(t.last_activity_at, v_occurred_at),
      access_checked_at = apply_heartbeat.access_checked_at
    where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
    returning t.* into p;
    exit when found;
    insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at)
    values (apply_heartbeat.user_id, apply_heartbeat.item_id, apply_heartbeat.version, v_began_at, v_occurred_at)
    on conflict do nothing;
  end loop;

  -- Nearly every heartbeat continues the latest session.
  update learning.content_consumption c
  set last_activity_at = greatest(c.last_activity_at, v_occurred_at),
    active_seconds = c.active_seconds + private.added_seconds(c.active, v_stretch, apply_heartbeat.active_seconds),
    active = c.active + v_stretch,
    heartbeat_count = c.heartbeat_count + 1,
    covered = c.covered + v_covered
  where c.user_id = apply_heartbeat.user_id
    and c.item_id = apply_heartbeat.item_id
    and c.created_at = p.session_created_at
    and c.version = apply_heartbeat.version
    and c.started_at <= v_began_at
    and c.last_activity_at >= v_began_at - v_gap
  returning pg_column_size(c.active) into v_size;
  -- Beyond the first 140 stretches, one in twenty additions looks for gaps to close.
  if pg_column_size(p.active) > 1800 and pg_column_size(p.active) % 256 < 13 then
    update learning.content_progress t
    set active = private.bounded_stretches(t.active)
    where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
    returning t.* into p;
  end if;
  if v_size > 1800 and v_size % 256 < 13 then
    update learning.content_consumption c
    set active = private.bounded_stretches(c.active)
    where c.user_id = apply_heartbeat.user_id and c.item_id = apply_heartbeat.item_id and c.created_at = p.session_created_at;
  end if;
  if v_size is null then
    v_session := private.place_session(
      apply_heartbeat.user_id, apply_heartbeat.item_id, apply_heartbeat.version, v_covered, v_stretch,
      apply_heartbeat.active_seconds, v_began_at, v_occurred_at
    );
    -- The next heartbeat looks in the session with the latest activity, or in the session that absorbed it.
    if p.session_created_at is null or v_occurred_at >= p.last_activity_at or v_session < p.session_created_at and not exists (
      select
      from learning.content_consumption c
      where c.user_id = p.user_id and c.item_id = p.item_id and c.created_at = p.session_created_at
    ) then
      update learning.content_progress t
      set session_created_at = v_session
      where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
      returning t.* into p;
    end if;
  end if;

  if apply_heartbeat.version > coalesce(p.completed_version, 0) then
    v_seconds := p.covered_seconds;
    if apply_heartbeat.version < p.version then
      -- A late heartbeat of a version that the user has left behind.
      select private.covered_seconds(range_agg(c.covered), apply_heartbeat.duration_seconds) into v_seconds
      from learning.content_consumption c
      where c.user_id = apply_heartbeat.user_id
        and c.item_id = apply_heartbeat.item_id
        and c.version = apply_heartbeat.version;
    end if;
    if private.is_played(v_seconds, apply_heartbeat.duration_seconds) then
      update learning.content_progress t
      set completed_version = apply_heartbeat.version, completed_at = v_occurred_at
      where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
      returning t.* into p;
    end if;
  end if;
  return p;
end
$$;

comment on function private.apply_heartbeat(uuid, uuid, uuid, integer, integer, integer, integer, integer, timestamptz, timestamptz, bytea) is
  'Merges a heartbeat into sessions and progress, once for each event_id of a user; returns the progress after it. PL409 when the event_id was used for another heartbeat.';
--! EndIncluded learning/private/apply_heartbeat.sql
--! Included learning/private/bounded_stretches.sql
-- Keeps a row small. From about 140 stretches on, gaps of one or two seconds are closed: a player whose heartbeats all come a
-- moment late leaves one at each. From about 1,200 on, the shorter half of all gaps is closed. Counted time stays counted. A late
-- heartbeat for a closed gap no longer adds to it, so the user gains no time.
create or replace function private.bounded_stretches(active int4multirange)
  returns int4multirange
  language sql
  stable
  set search_path = pg_catalog
as $$
  with stretches as (
    select lower(r) as began, upper(r) as ended, lower(r) - lag(upper(r)) over (order by r) as gap from unnest(active) r
  ),
  closing as (
    select
      case
        when pg_column_size(active) > 16384 then greatest(percentile_disc(0.5) within group (order by s.gap), 2)
        when pg_column_size(active) > 1800 then 2
        else 0
      end as gap
    from stretches s
  )
  select coalesce(range_agg(int4range(s.began - case when s.gap <= c.gap then s.gap else 0 end, s.ended)), '{}')
  from stretches s cross join closing c
$$;

comment on function private.bounded_stretches(int4multirange) is
  'Returns the same stretches, without the shortest gaps between them if there are many.';
--! EndIncluded learning/private/bounded_stretches.sql
--! Included learning/private/complete_played_items.sql
-- A shortened duration may complete items that were played far enough. Learners whose heartbeat is being recorded are skipped and
-- left to the job: the heartbeat's transaction may be waiting for this one.
create or replace function private.complete_played_items(item_ids uuid[])
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_played jsonb;
  v_row record;
begin
  perform private.lock_completions(true);
  select jsonb_agg(jsonb_build_object('user_id', p.user_id, 'item_id', p.item_id)) into v_played
  from learning.content_progress p
  join learning.content_items i on i.id = p.item_id
  where i.id = any (complete_played_items.item_ids)
    and p.version > coalesce(p.completed_version, 0)
    and private.is_played(private.covered_seconds(p.covered, i.duration_seconds), i.duration_seconds);
  if v_played is null then
    return;
  end if;
  perform private.lock_accounts(array(select (r ->> 'user_id')::uuid from jsonb_array_elements(v_played) r));
  for v_row in
    select r.* from jsonb_to_recordset(v_played) as r (user_id uuid, item_id uuid) order by r.user_id, r.item_id
  loop
    perform
    from learning.content_progress p
    where p.user_id = v_row.user_id and p.item_id = v_row.item_id
    for no key update skip locked;
    if found then
      update learning.content_progress p
      set
        completed_version = p.version,
        completed_at = clock_timestamp(),
        duration_seconds = i.duration_seconds,
        covered_seconds = private.covered_seconds(p.covered, i.duration_seconds)
      from learning.content_items i
      where p.user_id = v_row.user_id
        and p.item_id = v_row.item_id
        and i.id = p.item_id
        and p.version > coalesce(p.completed_version, 0)
        and private.is_played(private.covered_seconds(p.covered, i.duration_seconds), i.duration_seconds);
      if found then
        perform private.credit_completions(v_row.user_id, array[v_row.item_id]);
      end if;
    elsif exists (select from identity.users u where u.id = v_row.user_id) then
      insert into private.completion_checks (item_id, due_at)
      values (v_row.item_id, clock_timestamp())
      on conflict do nothing;
    end if;
  end loop;
end
$$;

comment on function private.complete_played_items(uuid[]) is
  'Completes the items for the learners who have played enough of them by their present duration. Repeating it changes nothing.';
--! EndIncluded learning/private/complete_played_items.sql
--! Included learning/private/content_matching.sql
-- The items that a search finds: one set for hits and facets. No settings of its own, so that the planner inlines it into the
-- calling query and uses the index. A null argument means no condition.
create or replace function private.content_matching(
  any_query tsquery, languages text[], queries tsquery[], similar_to text,
  content_types text[], categories uuid[], tags text[], min_level integer, max_level integer
)
  returns setof learning.content_items
  language sql
  stable
as $$
  select i.*
  from learning.content_items i
  where (any_query is null or i.search_document operator(pg_catalog.@@) any_query)
    -- Among several languages only the item's own counts: "-die" excludes a German article, not an English verb.
    and (
      any_query is null
      or pg_catalog.cardinality(queries) = 1
      or i.search_document operator(pg_catalog.@@) queries[pg_catalog.array_position(languages, i.language)]
    )
    and (similar_to is null or similar_to operator(plinth.<%) i.title)
    and i.language = any (languages)
    and i.available_from <= pg_catalog.now()
    and (i.available_until is null or i.available_until > pg_catalog.now())
    and (content_types is null or i.content_type = any (content_types))
    and (categories is null or i.category_id = any (categories))
    and (content_matching.tags is null or i.tags operator(pg_catalog.@>) content_matching.tags)
    and (min_level is null or i.level >= min_level)
    and (max_level is null or i.level <= max_level)
$$;

comment on function private.content_matching(tsquery, text[], tsquery[], text, text[], uuid[], text[], integer, integer) is
  'Returns available items that match the words, or whose title is similar to a text, and that match all filters.';
--! EndIncluded learning/private/content_matching.sql
--! Included learning/private/content_required_for.sql
-- All items that must be completed before an item: its requirements, its course's requirements and, for a course, its parts.
create or replace function private.content_required_for(item_id uuid)
  returns setof uuid
  language sql
  stable
  set search_path = pg_catalog
as $$
  with recursive required (id) as (
    select content_required_for.item_id
    union
    select n.id
    from required r
    cross join lateral (
      select p.required_item_id
      from learning.content_prerequisites p
      where p.item_id = r.id
        or p.item_id = (select i.course_id from learning.content_items i where i.id = r.id)
      union all
      select i.id from learning.content_items i where i.course_id = r.id
    ) as n (id)
  )
  select id from required
$$;

comment on function private.content_required_for(uuid) is
  'Returns the item and all items that must be completed before it, directly or not.';
--! EndIncluded learning/private/content_required_for.sql
--! Included learning/private/content_search_terms.sql
-- The terms of a search: its languages, the words in each of them, and all of these as one query for the index.
create or replace function private.content_search_terms(
  query text, language text, out languages text[], out queries tsquery[], out any_query tsquery
)
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_query tsquery;
begin
  -- Skips from one language to the next in the index, instead of reading all items.
  with recursive in_use (language) as (
    (select i.language from learning.content_items i order by i.language limit 1)
    union all
    select (select i.language from learning.content_items i where i.language > u.language order by i.language limit 1)
    from in_use u
    where u.language is not null
  )
  select coalesce(array_agg(u.language order by u.language), '{}') into languages
  from in_use u
  where content_search_terms.language is null
    or u.language = content_search_terms.language
    or starts_with(u.language, content_search_terms.language || '-');
  select coalesce(array_agg(plinth.search_query(l.language, query) order by l.place), '{}')
  into queries
  from unnest(languages) with ordinality as l (language, place);
  foreach v_query in array array(select distinct q from unnest(queries) as q) loop
    any_query := coalesce(any_query || v_query, v_query);
  end loop;
end
$$;

comment on function private.content_search_terms(text, text) is
  'Returns the searched languages in use (all, or one with its regional variants), the words as each language parses them, and a query for any of these.';
--! EndIncluded learning/private/content_search_terms.sql
--! Included learning/private/content_subtree.sql
-- The category and all its descendants.
create or replace function private.content_subtree(category_id uuid)
  returns uuid[]
  language sql
  stable
  set search_path = pg_catalog
as $$
  select array_agg(c.id)
  from learning.content_categories top
  join learning.content_categories c on c.path = top.path or c.path like top.path || '/%'
  where top.id = content_subtree.category_id
$$;

comment on function private.content_subtree(uuid) is 'Returns the ids of a category and all its descendants; null for null.';
--! EndIncluded learning/private/content_subtree.sql
--! Included learning/private/count_seconds.sql
-- Usually there is one stretch. plpgsql caches that expression, whereas a SQL function would start a query each time.
create or replace function private.count_seconds(stretches int4multirange)
  returns integer
  language plpgsql
  immutable
as $$
begin
  if stretches = int4multirange(range_merge(stretches)) then
    return coalesce(upper(stretches) - lower(stretches), 0);
  end if;
  return (select sum(upper(r) - lower(r)) from unnest(stretches) r);
end
$$;

comment on function private.count_seconds(int4multirange) is 'Returns the total seconds of the stretches.';
--! EndIncluded learning/private/count_seconds.sql
--! Included learning/private/covered_seconds.sql
-- Seconds of a set of stretches, up to the end of the item. Usually there is one stretch, which needs no counting. No settings of
-- its own, so that it is inlined into the calling expression.
create or replace function private.covered_seconds(covered int4multirange, duration_seconds integer)
  returns integer
  language sql
  immutable
as $$
  select case
    when covered = int4multirange(range_merge(covered))
      then coalesce(least(upper(covered), duration_seconds) - least(lower(covered), duration_seconds), 0)
    else private.count_seconds(covered * int4multirange(int4range(0, duration_seconds)))
  end
$$;

comment on function private.covered_seconds(int4multirange, integer) is
  'Returns how many seconds of an item the stretches cover; all of them when its duration is unknown.';
--! EndIncluded learning/private/covered_seconds.sql
--! Included learning/private/credit_completions.sql
-- Effects of completed items: completed courses, advanced trainings, and evidence of skills. All in one place and one order
-- (courses, then skills, each by id), so that two devices that complete items at once cannot deadlock.
create or replace function private.credit_completions(user_id uuid, item_ids uuid[])
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_completed uuid[] := item_ids;
  v_course record;
begin
  perform private.lock_completions(false);
  for v_course in
    select distinct c.id, c.current_version
    from learning.content_items i
    join learning.content_items c on c.id = i.course_id
    where i.id = any (item_ids) and c.current_version is not null
    order by c.id
  loop
    insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at)
    values (credit_completions.user_id, v_course.id, v_course.current_version, now(), now())
    on conflict do nothing;
    -- If two devices complete the last two parts, the second waits here and then sees the first one's completion.
    perform from learning.content_progress p
    where p.user_id = credit_completions.user_id and p.item_id = v_course.id
    for no key update;
    if private.has_completed_parts(credit_completions.user_id, v_course.id) then
      update learning.content_progress p
      set version = v_course.current_version, completed_version = v_course.current_version, completed_at = now(),
        last_activity_at = now()
      where p.user_id = credit_completions.user_id
        and p.item_id = v_course.id
        and p.completed_version is distinct from v_course.current_version;
      if found then
        v_completed := v_completed || v_course.id;
      end if;
    end if;
  end loop;

  perform private.credit_skills(credit_completions.user_id, v_completed);
end
$$;

comment on function private.credit_completions(uuid, uuid[]) is
  'Completes courses, advances trainings and adds evidence for items a user completed; repeating it changes nothing.';
--! EndIncluded learning/private/credit_completions.sql
--! Included learning/private/credit_skills.sql
-- The effects of one user's completed items: trainings and evidence of skills.
create or replace function private.credit_skills(user_id uuid, item_ids uuid[])
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_credit record;
begin
  for v_credit in
    select cs.item_id, cs.skill_id, cs.gain, p.completed_version
    from learning.content_skills cs
    join learning.content_progress p on p.item_id = cs.item_id and p.user_id = credit_skills.user_id
    where cs.item_id = any (credit_skills.item_ids) and p.completed_version is not null
    order by cs.skill_id, cs.item_id
  loop
    perform private.advance_training(credit_skills.user_id, v_credit.skill_id);
    if v_credit.gain > 0 then
      perform private.add_skill_evidence(
        credit_skills.user_id, v_credit.skill_id, 'content', v_credit.gain,
        'item:' || v_credit.item_id, 'version ' || v_credit.completed_version
      );
    end if;
  end loop;
  update learning.content_progress p
  set credited_version = p.completed_version
  where p.user_id = credit_skills.user_id
    and p.item_id = any (credit_skills.item_ids)
    and p.credited_version is distinct from p.completed_version;
end
$$;

comment on function private.credit_skills(uuid, uuid[]) is
  'Advances trainings and adds evidence of skills for items a user completed; repeating it changes nothing.';
--! EndIncluded learning/private/credit_skills.sql
--! Included learning/private/delete_old_heartbeats.sql
-- Deletes one batch of the deduplication keys of heartbeats. Heartbeats are accepted up to 30 days late, so no duplicate can
-- arrive after 35 days.
create or replace function private.delete_old_heartbeats(batch_size integer default 10000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.check_batch_size(batch_size);
  return private.delete_old_rows('private.recorded_heartbeats', 'created_at', '35 days', batch_size);
end
$$;

comment on function private.delete_old_heartbeats(integer) is
  'Deletes up to batch_size deduplication keys of heartbeats older than 35 days; returns their number.';
grant execute on function private.delete_old_heartbeats(integer) to :PLINTH_WORKER;
--! EndIncluded learning/private/delete_old_heartbeats.sql
--! Included learning/private/escape_html.sql
-- Escapes text for a page, so that it contains no markup.
create or replace function private.escape_html(plain text)
  returns text
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select replace(replace(replace(replace(replace(plain, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;')
$$;

comment on function private.escape_html(text) is 'Returns the text with the five special characters of HTML escaped.';
--! EndIncluded learning/private/escape_html.sql
--! Included learning/private/export_content_item.sql
-- An item as a line of a file that import_content reads. Its text is the published version, or the draft if none was published.
create or replace function private.export_content_item(item_id uuid)
  returns jsonb
  language sql
  stable
  set search_path = pg_catalog
as $$
  select jsonb_build_object(
    'kind', 'item',
    'slug', i.slug,
    'category', c.path,
    'course', course.slug,
    'position', i.position,
    'type', i.content_type,
    'title', i.title,
    'summary', i.summary,
    'level', i.level,
    'durationSeconds', i.duration_seconds,
    'language', i.language,
    'tags', to_jsonb(i.tags),
    'requiredAccessLevel', i.required_access_level,
    'isPreview', i.is_preview,
    'prerequisites', (
      select coalesce(jsonb_agg(r.slug order by r.slug), '[]')
      from learning.content_prerequisites p
      join learning.content_items r on r.id = p.required_item_id
      where p.item_id = i.id and r.deleted_at is null
    ),
    'published', i.current_version is not null,
    -- In UTC in any session time zone, so that two exports can be compared.
    'publishFrom', to_char(i.publish_from at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'publishUntil', to_char(i.publish_until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'bodyFormat', coalesce(b.body_format, 'markdown'),
    'body', b.body
  )
  from learning.content_items i
  join learning.content_categories c on c.id = i.category_id
  left join learning.content_items course on course.id = i.course_id
  left join learning.content_bodies b
    on b.item_id = i.id
    and b.version = coalesce(
      i.current_version, (select max(v.version) from learning.content_versions v where v.item_id = i.id)
    )
  where i.id = export_content_item.item_id
$$;

comment on function private.export_content_item(uuid) is 'Returns an item as an object of the import format.';
--! EndIncluded learning/private/export_content_item.sql
--! Included learning/private/has_completed_parts.sql
-- All currently available parts of a course must be completed, each in any version. A course without parts is not complete.
create or replace function private.has_completed_parts(user_id uuid, course_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select coalesce(bool_and(p.completed_version is not null), false)
  from learning.content_items i
  left join learning.content_progress p on p.item_id = i.id and p.user_id = has_completed_parts.user_id
  where i.course_id = has_completed_parts.course_id
    and i.available_from <= now()
    and (i.available_until is null or i.available_until > now())
$$;

comment on function private.has_completed_parts(uuid, uuid) is
  'Returns whether the user has completed every currently available part of the course; false for a course without parts.';
--! EndIncluded learning/private/has_completed_parts.sql
--! Included learning/private/heartbeat_digest.sql
-- Digest of a heartbeat as it was sent, so that one without a time is equal to its retry.
create or replace function private.heartbeat_digest(
  item_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamptz, version integer
)
  returns bytea
  language sql
  immutable
as $$
  select private.request_digest(
    jsonb_build_array(item_id, from_seconds, to_seconds, active_seconds, extract(epoch from occurred_at), version)
  )
$$;

comment on function private.heartbeat_digest(uuid, integer, integer, integer, timestamptz, integer) is
  'Returns the digest of a heartbeat''s fields; occurred_at is null when it was omitted.';
--! EndIncluded learning/private/heartbeat_digest.sql
--! Included learning/private/heartbeat_fields.sql
-- A heartbeat as a client writes it.
create or replace function private.heartbeat_fields(heartbeat jsonb)
  returns table (
    event_id uuid,
    item_id uuid,
    from_seconds integer,
    to_seconds integer,
    active_seconds integer,
    occurred_at timestamptz,
    version integer
  )
  language sql
  stable
  rows 1
  set search_path = pg_catalog
as $$
  select
    h."eventId", h."itemId", h."fromSeconds", h."toSeconds",
    coalesce(h."activeSeconds", h."toSeconds" - h."fromSeconds"), coalesce(h."occurredAt", now()), h.version
  from jsonb_to_record(heartbeat) as h (
    "eventId" uuid, "itemId" uuid, "fromSeconds" integer, "toSeconds" integer, "activeSeconds" integer,
    "occurredAt" timestamptz, version integer
  )
$$;

comment on function private.heartbeat_fields(jsonb) is
  'Reads {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version}; raises a data exception (class 22) for any other form.';
--! EndIncluded learning/private/heartbeat_fields.sql
--! Included learning/private/heartbeat_problem.sql
-- Returns the name of the invalid parameter of a heartbeat, or null. The fastest players run at four times the speed. No settings
-- of its own, so that it is inlined into the calling expression.
create or replace function private.heartbeat_problem(
  event_id uuid,
  from_seconds integer,
  to_seconds integer,
  active_seconds integer,
  occurred_at timestamptz
)
  returns text
  language sql
  stable
as $$
  select case
    when event_id is null then 'event_id'
    when from_seconds is null or from_seconds not between 0 and 604800 then 'from_seconds'
    when to_seconds is null or to_seconds not between from_seconds and 604800 then 'to_seconds'
    when active_seconds is null or active_seconds not between 0 and 600 or to_seconds - from_seconds > 4 * active_seconds
      then 'active_seconds'
    when occurred_at is null or occurred_at not between now() - interval '30 days' and now() + interval '5 minutes'
      then 'occurred_at'
  end
$$;

comment on function private.heartbeat_problem(uuid, integer, integer, integer, timestamptz) is
  'Returns the name of the first invalid parameter of a heartbeat, or null.';
--! EndIncluded learning/private/heartbeat_problem.sql
--! Included learning/private/import_content.sql
-- Imports lines of a content file in order, each completely or not at all. Repeating it changes nothing. A rejected line is
-- reported and leaves no trace; the caller decides whether the others stay (rollback).
create or replace function private.import_content(lines jsonb)
  returns table (ordinal integer, outcome text, message text)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_line jsonb;
begin
  for v_line, ordinal in
    select l.value, l.ordinality::integer from jsonb_array_elements(import_content.lines) with ordinality l
  loop
    message := null;
    begin
      outcome := case v_line ->> 'kind'
        when 'category' then private.import_content_category(v_line)
        else private.import_content_item(v_line)
      end;
    exception
      when data_exception or integrity_constraint_violation or sqlstate 'PL404' or sqlstate 'PL409' or sqlstate 'PL422' then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_content(jsonb) is
  'Imports an array of categories and items; returns one result for each line: inserted, updated, unchanged or rejected with the reason.';
--! EndIncluded learning/private/import_content.sql
--! Included learning/private/import_content_category.sql
-- A line of a content file. A category is identified by its path, an item by its slug; the rows that a line refers to must
-- exist.
create or replace function private.import_content_category(line jsonb)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_path constant text := line ->> 'path';
  v_slug constant text := substring(v_path from '[^/]*$');
  v_parent constant text := nullif(regexp_replace(v_path, '/?[^/]*$', ''), '');
  v_parent_id uuid;
  v_inserted boolean;
begin
  if v_parent is not null then
    select c.id into v_parent_id from learning.content_categories c where c.path = v_parent;
    if v_parent_id is null then
      raise exception 'the category % does not exist; import it first', v_parent using errcode = 'PL404';
    end if;
  end if;
  insert into learning.content_categories as c (parent_id, slug, name, description, position)
  values (
    v_parent_id, v_slug, btrim(line ->> 'name'), coalesce(line ->> 'description', ''), coalesce((line ->> 'position')::integer, 0)
  )
  on conflict on constraint content_categories_path_key do update
  set name = excluded.name, description = excluded.description, position = excluded.position
  where (c.name, c.description, c.position) is distinct from (excluded.name, excluded.description, excluded.position)
  -- xmax is 0 in a row that this statement inserted, and not in one that it updated.
  returning c.xmax = 0 into v_inserted;
  return case when v_inserted is null then 'unchanged' when v_inserted then 'inserted' else 'updated' end;
end
$$;

comment on function private.import_content_category(jsonb) is 'Imports a category; returns inserted, updated or unchanged. PL404 without its parent.';
--! EndIncluded learning/private/import_content_category.sql
--! Included learning/private/import_content_item.sql
create or replace function private.import_content_item(line jsonb)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
  v_deleted_at timestamptz;
  v_before jsonb;
  v_wanted jsonb;
  v_category_id uuid;
  v_course_id uuid;
  v_missing text;
  v_version integer;
  v_published constant boolean := coalesce((line ->> 'published')::boolean, true);
begin
  -- The course before the item, as in private.lock_content_item.
  if line ->> 'course' is not null then
    select i.id into v_course_id from learning.content_items i where i.slug = line ->> 'course' for share;
    if v_course_id is null then
      raise exception 'the course % does not exist; import it first', line ->> 'course' using errcode = 'PL404';
    end if;
  end if;
  select i.id, i.deleted_at into v_id, v_deleted_at
  from learning.content_items i
  where i.slug = line ->> 'slug'
  for no key update;
  if v_deleted_at is not null then
    raise exception 'was deleted; restore it first' using errcode = 'PL409';
  end if;
  v_before := private.export_content_item(v_id);
  -- All keys, in the form of an export. A time that the file omits stays as it is.
  v_wanted := jsonb_build_object(
    'kind', 'item',
    'slug', line ->> 'slug',
    'category', line ->> 'category',
    'course', line ->> 'course',
    'position', coalesce((line ->> 'position')::integer, 0),
    'type', line ->> 'type',
    'title', btrim(line ->> 'title'),
    'summary', coalesce(line ->> 'summary', ''),
    'level', coalesce((line ->> 'level')::integer, 0),
    'durationSeconds', (line ->> 'durationSeconds')::integer,
    'language', coalesce(line ->> 'language', 'en'),
    'tags', (
      select coalesce(jsonb_agg(distinct lower(btrim(t))), '[]')
      from jsonb_array_elements_text(coalesce(line -> 'tags', '[]')) as t
      where btrim(t) <> ''
    ),
    'requiredAccessLevel', (line ->> 'requiredAccessLevel')::integer,
    'isPreview', coalesce((line ->> 'isPreview')::boolean, false),
    'prerequisites', (
      select coalesce(jsonb_agg(distinct r.slug), '[]')
      from jsonb_array_elements_text(coalesce(line -> 'prerequisites', '[]')) as r (slug)
    ),
    'published', v_published,
    'publishFrom', case
      when line ->> 'publishFrom' is not null
        then to_char((line ->> 'publishFrom')::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
      when v_published then coalesce(
        v_before ->> 'publishFrom', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
      )
    end,
    'publishUntil', to_char((line ->> 'publishUntil')::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'bodyFormat', coalesce(line ->> 'bodyFormat', 'markdown'),
    'body', line ->> 'body'
  );
  if v_before = v_wanted then
    return 'unchanged';
  end if;

  select c.id into v_category_id from learning.content_categories c where c.path = v_wanted ->> 'category';
  if v_category_id is null then
    raise exception 'the category % does not exist; import it first', v_wanted ->> 'category' using errcode = 'PL404';
  end if;
  select r.slug into v_missing
  from jsonb_array_elements_text(v_wanted -> 'prerequisites') as r (slug)
  where not exists (select from learning.content_items i where i.slug = r.slug and i.deleted_at is null)
  limit 1;
  if v_missing is not null then
    raise exception 'the item % does not exist; import it first', v_missing using errcode = 'PL404';
  end if;
  if v_published and v_wanted ->> 'body' is null and v_wanted ->> 'type' <> 'course' then
    raise exception 'only a course can be published without a body' using errcode = 'PL422';
  end if;

  insert into learning.content_items as i (
    category_id, course_id, position, slug, content_type, title, summary, level, duration_seconds, language, tags,
    required_access_level, is_preview
  )
  values (
    v_category_id,
    v_course_id,
    (v_wanted ->> 'position')::integer,
    v_wanted ->> 'slug',
    v_wanted ->> 'type',
    v_wanted ->> 'title',
    v_wanted ->> 'summary',
    (v_wanted ->> 'level')::smallint,
    (v_wanted ->> 'durationSeconds')::integer,
    v_wanted ->> 'language',
    array(select jsonb_array_elements_text(v_wanted -> 'tags')),
    (v_wanted ->> 'requiredAccessLevel')::integer,
    (v_wanted ->> 'isPreview')::boolean
  )
  on conflict on constraint content_items_slug_key do update
  set
    category_id = excluded.category_id,
    course_id = excluded.course_id,
    position = excluded.position,
    content_type = excluded.content_type,
    title = excluded.title,
    summary = excluded.summary,
    level = excluded.level,
    duration_seconds = excluded.duration_seconds,
    language = excluded.language,
    tags = excluded.tags,
    required_access_level = excluded.required_access_level,
    is_preview = excluded.is_preview
  returning i.id into v_id;

  delete from learning.content_prerequisites p
  where p.item_id = v_id
    and p.required_item_id not in (
      select i.id from learning.content_items i
      where i.slug in (select jsonb_array_elements_text(v_wanted -> 'prerequisites'))
    );
  insert into learning.content_prerequisites (item_id, required_item_id)
  select v_id, i.id
  from learning.content_items i
  where i.slug in (select jsonb_array_elements_text(v_wanted -> 'prerequisites'))
  on conflict do nothing;

  -- A new version only for a changed text.
  select v.version into v_version from learning.content_versions v where v.item_id = v_id and v.published_at is null;
  if v_version is not null
    or v_before is null
    or (v_before -> 'body', v_before -> 'bodyFormat') is distinct from (v_wanted -> 'body', v_wanted -> 'bodyFormat')
  then
    if v_version is null then
      insert into learning.content_versions (item_id, version, change_note)
      select v_id, coalesce(max(v.version), 0) + 1, coalesce(line ->> 'changeNote', '')
      from learning.content_versions v
      where v.item_id = v_id
      returning version into v_version;
    end if;
    delete from learning.content_bodies b where b.item_id = v_id and b.version = v_version;
    if v_wanted ->> 'body' is not null then
      insert into learning.content_bodies (item_id, version, body_format, body)
      values (v_id, v_version, v_wanted ->> 'bodyFormat', v_wanted ->> 'body');
    end if;
    if v_published then
      update learning.content_versions v
      set published_at = clock_timestamp()
      where v.item_id = v_id and v.version = v_version;
    end if;
  end if;
  update learning.content_items i
  set
    current_version = case when v_published then (select max(v.version) from learning.content_versions v where v.item_id = v_id) end,
    publish_from = (v_wanted ->> 'publishFrom')::timestamptz,
    publish_until = (v_wanted ->> 'publishUntil')::timestamptz
  where i.id = v_id;
  return case when v_before is null then 'inserted' else 'updated' end;
end
$$;

comment on function private.import_content_item(jsonb) is
  'Imports and publishes an item; returns inserted, updated or unchanged. PL404 for a missing row that it refers to, PL409 for a deleted item, PL422 without a text.';
--! EndIncluded learning/private/import_content_item.sql
--! Included learning/private/is_played.sql
-- Nine tenths count as complete, because few viewers watch the credits.
create or replace function private.is_played(seconds integer, duration_seconds integer)
  returns boolean
  language sql
  immutable
as $$
  select seconds >= 0.9 * duration_seconds
$$;

comment on function private.is_played(integer, integer) is
  'Returns whether this many different seconds of an item complete it; null when its duration is unknown.';
--! EndIncluded learning/private/is_played.sql
--! Included learning/private/lock_completions.sql
-- The lock between completions and changes of the content to complete. Without it, a learner completes the last but one part
-- while an editor deletes the last, and each finds the course incomplete. Learners share the lock, so they do not wait for each
-- other.
create or replace function private.lock_completions(exclusively boolean)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  if exclusively then
    perform pg_advisory_xact_lock(hashtextextended('learning.completions', 0));
  else
    perform pg_advisory_xact_lock_shared(hashtextextended('learning.completions', 0));
  end if;
end
$$;

comment on function private.lock_completions(boolean) is
  'Prevents content changes (exclusive) and completions (shared) from missing each other until the transaction ends.';
--! EndIncluded learning/private/lock_completions.sql
--! Included learning/private/lock_content_item.sql
-- All functions lock the item's course before the item, as do the triggers that copy a course's changes to its lessons.
create or replace function private.lock_content_item(item_id uuid)
  returns learning.content_items
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_item learning.content_items;
begin
  if not access.has_permission('edit_content') then
    raise exception 'You need the permission edit_content.' using errcode = 'PL403';
  end if;
  -- Account before item, as everywhere; a version names its author, and the item may be theirs.
  perform private.lock_accounts(array[plinth.current_user_id()]);
  perform
  from learning.content_items c
  where c.id = (select i.course_id from learning.content_items i where i.id = lock_content_item.item_id)
  for share;
  select * into v_item from learning.content_items i where i.id = lock_content_item.item_id for no key update;
  if v_item.id is null then
    raise exception 'Content not found.' using errcode = 'PL404';
  end if;
  return v_item;
end
$$;

comment on function private.lock_content_item(uuid) is 'Locks an item for a change of its state. PL403 without edit_content, PL404 for an unknown item.';
--! EndIncluded learning/private/lock_content_item.sql
--! Included learning/private/look_for_similar_titles.sql
-- The share of the typed text that a title must contain; it allows for one wrong letter in a short word. The setting belongs to
-- an extension and exists only after its library is loaded, so it cannot be a setting of a function that a restore creates again.
create or replace function private.look_for_similar_titles()
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  perform plinth.word_similarity('', '');
  perform set_config('pg_trgm.word_similarity_threshold', '0.4', true);
end
$$;

comment on function private.look_for_similar_titles() is 'Sets the similarity threshold of the search until the end of the transaction.';
--! EndIncluded learning/private/look_for_similar_titles.sql
--! Included learning/private/open_for_recording.sql
-- The item and version being played, if the user may play it: only a user who may read a text can be reading it. The access
-- decision for a user and item is read once per minute of playing and not with each heartbeat: reading it costs more than
-- recording. Changes that matter at once are detected: a withdrawn item here, a changed permission by the trigger
-- learning.forget_checked_access.
create or replace function private.open_for_recording(
  item_id uuid,
  version integer,
  out reason text,
  out playable_version integer,
  out duration_seconds integer,
  out content_type text,
  out access_checked_at timestamptz
)
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_current_version integer;
  v_is_available boolean;
  v_has_access boolean;
begin
  select
    i.current_version, i.duration_seconds, i.content_type,
    i.available_from <= now() and (i.available_until is null or i.available_until > now()),
    p.access_checked_at
  into v_current_version, duration_seconds, content_type, v_is_available, access_checked_at
  from learning.content_items i
  left join learning.content_progress p on p.item_id = i.id and p.user_id = plinth.current_user_id()
  where i.id = open_for_recording.item_id;
  if v_current_version is null then
    reason := 'not_available';
    return;
  end if;
  if v_is_available is not true or access_checked_at is null
    or access_checked_at not between now() - interval '1 minute' and now()
  then
    select a.has_access, a.reason into v_has_access, reason
    from learning.my_content_access a
    where a.content_id = open_for_recording.item_id;
    if v_has_access is not true then
      reason := coalesce(reason, 'not_available');
      return;
    end if;
    reason := null;
    access_checked_at := now();
  end if;
  playable_version := coalesce(version, v_current_version);
  if playable_version <> v_current_version and not exists (
    select
    from learning.content_versions v
    where v.item_id = open_for_recording.item_id and v.version = open_for_recording.version and v.published_at is not null
  ) then
    reason := 'no_such_version';
  end if;
end
$$;

comment on function private.open_for_recording(uuid, integer) is
  'Returns the version of an item that is being played, its duration and type, and the time access was last decided; reason says why the caller may not play it, or is null.';
--! EndIncluded learning/private/open_for_recording.sql
--! Included learning/private/place_session.sql
-- Finds or creates the session of a heartbeat: heartbeats at most half an hour apart share a session. A late heartbeat may join
-- two sessions; the row with the earliest key then absorbs the others. Returns that row's key. Rows older than 40 days are not
-- searched: a heartbeat is at most 30 days late, so its session is in the newest partitions.
create or replace function private.place_session(
  user_id uuid,
  item_id uuid,
  version integer,
  covered int4multirange,
  stretch int4multirange,
  active_seconds integer,
  began_at timestamptz,
  occurred_at timestamptz
)
  returns timestamptz
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_gap constant interval := '30 minutes';
  v_keys timestamptz[];
  v_key timestamptz;
  v_others record;
begin
  v_keys := array(
    select c.created_at
    from learning.content_consumption c
    where c.user_id = place_session.user_id
      and c.item_id = place_session.item_id
      and c.version = place_session.version
      and c.created_at >= now() - interval '40 days'
      and c.started_at <= place_session.occurred_at + v_gap
      and c.last_activity_at >= place_session.began_at - v_gap
    order by c.created_at
  );
  if v_keys = '{}' then
    insert into learning.content_consumption (
      user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered, active, created_at
    )
    values (
      place_session.user_id, place_session.item_id, place_session.version, place_session.began_at,
      place_session.occurred_at, place_session.active_seconds, 1, place_session.covered, place_session.stretch,
      clock_timestamp()
    )
    returning created_at into v_key;
    return v_key;
  end if;

  with taken_in as (
    delete from learning.content_consumption c
    where c.user_id = place_session.user_id
      and c.item_id = place_session.item_id
      and c.created_at = any (v_keys[2:])
    returning c.*
  )
  select
    min(t.started_at) as started_at, max(t.last_activity_at) as last_activity_at,
    coalesce(sum(t.active_seconds), 0) as active_seconds, coalesce(sum(t.heartbeat_count), 0) as heartbeat_count,
    coalesce(range_agg(t.covered), '{}') as covered, coalesce(range_agg(t.active), '{}') as active
  into v_others
  from taken_in t;
  update learning.content_consumption c
  set started_at = least(c.started_at, v_others.started_at, place_session.began_at),
    last_activity_at = greatest(c.last_activity_at, v_others.last_activity_at, place_session.occurred_at),
    -- Sessions are half an hour apart, so their seconds do not overlap.
    active_seconds = c.active_seconds + v_others.active_seconds
      + private.added_seconds(c.active + v_others.active, place_session.stretch, place_session.active_seconds),
    active = private.bounded_stretches(c.active + v_others.active + place_session.stretch),
    heartbeat_count = c.heartbeat_count + v_others.heartbeat_count + 1,
    covered = c.covered + v_others.covered + place_session.covered
  where c.user_id = place_session.user_id and c.item_id = place_session.item_id and c.created_at = v_keys[1];
  return v_keys[1];
end
$$;

comment on function private.place_session(uuid, uuid, integer, int4multirange, int4multirange, integer, timestamptz, timestamptz) is
  'Adds a heartbeat to its session, joining or creating sessions; returns the created_at of that session.';
--! EndIncluded learning/private/place_session.sql
--! Included learning/private/record_completions.sql
-- Completions that the learner did not cause: content is deleted, withdrawn, moved or corrected, or its availability ends. They
-- are recorded at once, so that unlocked content stays unlocked when a part is added later.

-- Records, as of one moment, the learners who had completed a course or were further in a training than it says.
create or replace function private.record_completions(
  course_ids uuid[],
  skill_ids uuid[],
  at timestamptz default clock_timestamp()
)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_courses jsonb;
  v_trainings jsonb;
  v_row record;
begin
  perform private.lock_completions(true);

  with parts as (
    select i.course_id, i.id
    from learning.content_items i
    where i.course_id = any (record_completions.course_ids)
      and i.available_from <= record_completions.at
      and (i.available_until is null or i.available_until > record_completions.at)
  ),
  courses as (
    select p.course_id, c.current_version, count(*) as part_count
    from parts p
    join learning.content_items c on c.id = p.course_id
    where c.current_version is not null
    group by p.course_id, c.current_version
  ),
  learners as (
    select
      p.user_id, c.course_id, c.current_version, min(p.started_at) as started_at, max(p.last_activity_at) as last_activity_at
    from courses c
    join parts on parts.course_id = c.course_id
    join learning.content_progress p on p.item_id = parts.id and p.completed_at <= record_completions.at
    group by p.user_id, c.course_id, c.current_version, c.part_count
    having count(*) = c.part_count
  )
  select jsonb_agg(l) into v_courses
  from learners l
  where not exists (
    select
    from learning.content_progress done
    where done.user_id = l.user_id and done.item_id = l.course_id and done.completed_at is not null
  );

  with taught as (
    select cs.skill_id, cs.item_id, count(*) over (partition by cs.skill_id) as item_count
    from learning.content_skills cs
    join learning.content_items i on i.id = cs.item_id
    where cs.skill_id = any (record_completions.skill_ids)
      and i.available_from <= record_completions.at
      and (i.available_until is null or i.available_until > record_completions.at)
  ),
  shares as (
    select t.user_id, t.skill_id, t.progress, trunc(count(*)::numeric / c.item_count, 4) as share
    from taught c
    join learning.training t on t.skill_id = c.skill_id and t.status = 'active'
    join learning.content_progress p
      on p.item_id = c.item_id
      and p.user_id = t.user_id
      and p.completed_at <= record_completions.at
      and (t.run = 1 or p.completed_at >= t.started_at)
    group by t.user_id, t.skill_id, t.progress, c.item_count
  )
  select jsonb_agg(s) into v_trainings from shares s where s.share > s.progress;

  if v_courses is null and v_trainings is null then
    return;
  end if;
  -- The accounts before their rows, as everywhere.
  perform private.lock_accounts(array(
    select (r ->> 'user_id')::uuid from jsonb_array_elements(coalesce(v_courses, '[]') || coalesce(v_trainings, '[]')) r
  ));

  for v_row in
    select r.*
    from jsonb_to_recordset(coalesce(v_courses, '[]')) as r (
      user_id uuid, course_id uuid, current_version integer, started_at timestamptz, last_activity_at timestamptz
    )
    -- If the account was deleted in the meantime, so was its progress.
    join identity.users u on u.id = r.user_id
    order by r.user_id, r.course_id
  loop
    insert into learning.content_progress as p (
      user_id, item_id, version, completed_version, completed_at, started_at, last_activity_at
    )
    values (
      v_row.user_id, v_row.course_id, v_row.current_version, v_row.current_version, record_completions.at,
      v_row.started_at, v_row.last_activity_at
    )
    on conflict (user_id, item_id) do update
    set version = excluded.version, completed_version = excluded.completed_version, completed_at = excluded.completed_at
    where p.completed_at is null;
    if found then
      perform private.credit_skills(v_row.user_id, array[v_row.course_id]);
    end if;
  end loop;

  for v_row in
    select r.*
    from jsonb_to_recordset(coalesce(v_trainings, '[]')) as r (user_id uuid, skill_id uuid, share numeric)
    order by r.user_id, r.skill_id
  loop
    update learning.training t
    set progress = v_row.share
    where t.user_id = v_row.user_id and t.skill_id = v_row.skill_id and t.status = 'active' and t.progress < v_row.share;
  end loop;
end
$$;

comment on function private.record_completions(uuid[], uuid[], timestamptz) is
  'Records the learners who had completed one of the courses, and their progress in the trainings of the skills, with the content available at a moment. Repeating it changes nothing.';
--! EndIncluded learning/private/record_completions.sql
--! Included learning/private/record_due_completions.sql
-- Changes that fall due by time, in order and as of then: if one part ended before another began, the course was completed, even
-- if no job ran in between.
create or replace function private.record_due_completions(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_due_at timestamptz;
  v_items uuid[];
  v_handled integer := 0;
begin
  perform private.check_batch_size(batch_size);
  if not exists (select from private.completion_checks c where c.due_at <= clock_timestamp()) then
    return 0;
  end if;
  perform private.lock_completions(true);
  for v_due_at in
    select c.due_at
    from private.completion_checks c
    where c.due_at <= clock_timestamp()
    group by c.due_at
    order by c.due_at
    limit batch_size
  loop
    with gone as (
      delete from private.completion_checks c where c.due_at = v_due_at returning c.item_id
    )
    select array_agg(g.item_id) into v_items from gone g;
    perform private.complete_played_items(v_items);
    perform private.record_completions(
      array(select distinct i.course_id from learning.content_items i where i.id = any (v_items) and i.course_id is not null),
      array(select distinct cs.skill_id from learning.content_skills cs where cs.item_id = any (v_items)),
      v_due_at
    );
    v_handled := v_handled + 1;
  end loop;
  return v_handled;
end
$$;

comment on function private.record_due_completions(integer) is
  'Records completions caused by the start or end of an item''s availability, at up to batch_size moments; returns the number handled.';
grant execute on function private.record_due_completions(integer) to :PLINTH_WORKER;
--! EndIncluded learning/private/record_due_completions.sql
--! Included learning/private/refuse_recording.sql
create or replace function private.refuse_recording(reason text)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if reason = 'no_such_version' then
    raise exception 'Version not found.'
      using errcode = 'PL404', schema = 'learning', table = 'content_progress', column = 'version';
  elsif reason = 'not_available' then
    raise exception 'Content not found.'
      using errcode = 'PL404', schema = 'learning', table = 'content_progress', column = 'item_id';
  elsif reason is not null then
    raise exception 'You do not have access to this content.' using errcode = 'PL403', hint = reason;
  end if;
end
$$;

comment on function private.refuse_recording(text) is
  'Raises why something may not be recorded (PL403, or PL404 for content the caller cannot see); does nothing when reason is null.';
--! EndIncluded learning/private/refuse_recording.sql
--! Included learning/triggers/content_bodies.sql
create or replace function learning.guard_published_body()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_item_id uuid := case when tg_op = 'INSERT' then new.item_id else old.item_id end;
  v_version integer := case when tg_op = 'INSERT' then new.version else old.version end;
begin
  -- When the text is deleted with its version, no row is found. The lock blocks concurrent publication.
  if exists (
    select from (
      select v.published_at
      from learning.content_versions v
      where v.item_id = v_item_id and v.version = v_version
      for share
    ) v
    where v.published_at is not null
  ) then
    raise exception 'The text of a published version cannot be changed.' using errcode = 'PL409';
  end if;
  if tg_op = 'UPDATE' and (new.item_id, new.version) <> (old.item_id, old.version) then
    raise exception 'A text cannot be moved to another version.' using errcode = 'PL409';
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function learning.guard_published_body() is 'Trigger: rejects changing, deleting or adding the text of a published version (PL409).';

create or replace trigger _100_guard_published_body
  before insert or update or delete on learning.content_bodies
  for each row
  execute function learning.guard_published_body();
--! EndIncluded learning/triggers/content_bodies.sql
--! Included learning/triggers/content_categories.sql
-- Changes of the tree are serialized; two harmless moves could together create a cycle. The lock is taken before the statement
-- locks any row, so that two statements cannot deadlock.
create or replace function learning.lock_content_tree()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  update private.content_locks l set taken = l.taken + 1 where l.lock_name = 'categories';
  return null;
end
$$;

comment on function learning.lock_content_tree() is 'Trigger: serializes changes of the category tree.';

create or replace trigger _100_lock_content_tree
  before insert or update of parent_id, slug, path on learning.content_categories
  for each statement
  execute function learning.lock_content_tree();

-- The path is built from the parent's path and the slug, whatever a client sends.
create or replace function learning.place_category()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_parent learning.content_categories;
begin
  if new.parent_id is null then
    new.path := new.slug;
    new.depth := 1;
    return new;
  end if;
  -- Walks up by parents and not by paths: in a statement that moves several categories, not all paths are new yet.
  if exists (
    with recursive above as (
      select c.id, c.parent_id from learning.content_categories c where c.id = new.parent_id
      union
      select c.id, c.parent_id from above a join learning.content_categories c on c.id = a.parent_id
    )
    select from above where above.id = new.id
  ) then
    raise exception 'A category cannot be moved below itself.'
      using errcode = 'PL409', schema = 'learning', table = 'content_categories', column = 'parent_id';
  end if;
  select * into v_parent from learning.content_categories c where c.id = new.parent_id;
  -- The foreign key rejects an unknown parent.
  new.path := coalesce(v_parent.path || '/', '') || new.slug;
  new.depth := coalesce(v_parent.depth, 0) + 1;
  return new;
end
$$;

comment on function learning.place_category() is 'Trigger: sets a category''s path and depth; PL409 for a cycle.';

create or replace trigger _200_place_category
  before insert or update of parent_id, slug, path, depth on learning.content_categories
  for each row
  execute function learning.place_category();

-- The subcategories of a moved category move with it, nearest first, so that each row is placed under a parent in its new
-- place.
create or replace function learning.move_subcategories()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  update learning.content_categories c set parent_id = c.parent_id where c.parent_id = new.id;
  return null;
end
$$;

comment on function learning.move_subcategories() is 'Trigger: updates the paths of the categories below a moved one.';

create or replace trigger _500_move_subcategories
  after update of parent_id, slug, path, depth on learning.content_categories
  for each row
  when (old.path is distinct from new.path)
  execute function learning.move_subcategories();
--! EndIncluded learning/triggers/content_categories.sql
--! Included learning/triggers/content_items.sql
create or replace function learning.record_changed_content()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_items uuid[];
  v_courses uuid[];
  v_durations uuid[];
  v_can_complete boolean;
begin
  if tg_op = 'UPDATE' then
    select
      array_agg(n.id),
      array_remove(array_agg(distinct o.course_id) || array_agg(distinct n.course_id), null),
      array_agg(n.id) filter (where o.duration_seconds is distinct from n.duration_seconds and n.duration_seconds is not null),
      -- Content that only grows completes nothing, unless a user had completed it before.
      bool_or(
        o.course_id is distinct from n.course_id
        or o.available_from is not null and (
          n.available_from is null
          or n.available_from > o.available_from
          or coalesce(n.available_until, 'infinity') < coalesce(o.available_until, 'infinity')
        )
        or exists (select from learning.content_progress p where p.item_id = n.id and p.completed_at is not null)
      )
    into v_items, v_courses, v_durations, v_can_complete
    from old_items o
    join new_items n on n.id = o.id
    where (o.course_id, o.available_from, o.available_until, o.duration_seconds)
      is distinct from (n.course_id, n.available_from, n.available_until, n.duration_seconds);
    if v_items is null then
      return null;
    end if;
    delete from private.completion_checks c where c.item_id = any (v_items);
    insert into private.completion_checks (item_id, due_at)
    select i.id, t.due_at
    from learning.content_items i
    cross join lateral (values (i.available_from), (i.available_until)) as t (due_at)
    where i.id = any (v_items) and i.available_from is not null and t.due_at > now() and isfinite(t.due_at)
    on conflict do nothing;
    if current_setting('plinth.settles_lessons', true) = 'on' then
      return null;
    end if;
    -- The parts that followed a course have had their own statement.
    v_items := v_items || array(select i.id from learning.content_items i where i.course_id = any (v_items));
    v_courses := v_courses || v_items;
  else
    select array_agg(o.id), array_remove(array_agg(distinct o.course_id), null), true
    into v_items, v_courses, v_can_complete
    from old_items o;
  end if;
  if v_durations is not null then
    perform private.complete_played_items(v_durations);
  end if;
  if v_can_complete then
    perform private.record_completions(
      v_courses,
      array(select distinct cs.skill_id from learning.content_skills cs where cs.item_id = any (v_items))
    );
  end if;
  return null;
end
$$;

comment on function learning.record_changed_content() is
  'Trigger: records which courses and trainings a change of content completed, and the next time that availability changes.';

create or replace trigger _050_record_content_before
  before insert or update or delete on learning.content_items
  for each statement
  execute function learning.record_content_before();

create or replace trigger _800_record_updated_content
  after update on learning.content_items
  referencing old table as old_items new table as new_items
  for each statement
  execute function learning.record_changed_content();

create or replace trigger _800_record_deleted_content
  after delete on learning.content_items
  referencing old table as old_items
  for each statement
  execute function learning.record_changed_content();

-- An item stores its effective window and level, including those of its course, so that a policy reads one row. The course is
-- locked against concurrent change, and its own changes reach its lessons by the trigger below.
create or replace function learning.settle_content_item()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_course learning.content_items;
begin
  new.tags := array(
    select distinct lower(btrim(t.tag)) from unnest(new.tags) as t (tag) where btrim(t.tag) <> '' order by 1
  );
  if exists (select from unnest(new.tags) as t (tag) where length(t.tag) > 60 or t.tag ~ '[[:cntrl:],]') then
    raise exception 'A tag must have at most 60 characters and no comma.'
      using errcode = 'PL422', schema = 'learning', table = 'content_items', column = 'tags';
  end if;

  new.effective_access_level := coalesce(new.required_access_level, 0);
  new.available_from := case when new.deleted_at is null and new.current_version is not null then new.publish_from end;
  new.available_until := new.publish_until;
  if new.course_id is not null then
    select * into v_course from learning.content_items c where c.id = new.course_id for share;
    if v_course.content_type <> 'course' then
      raise exception 'Only a course can have parts.'
        using errcode = 'PL422', schema = 'learning', table = 'content_items', column = 'course_id';
    end if;
    new.effective_access_level := coalesce(new.required_access_level, v_course.effective_access_level, 0);
    -- greatest() would ignore the null of a course that does not exist.
    new.available_from := case when v_course.available_from is not null and new.available_from is not null
      then greatest(new.available_from, v_course.available_from) end;
    new.available_until := least(new.available_until, v_course.available_until);
  elsif tg_op = 'UPDATE' and new.content_type <> 'course' and old.content_type = 'course'
    and exists (select from learning.content_items i where i.course_id = new.id)
  then
    raise exception 'A course with parts must stay a course.'
      using errcode = 'PL409', schema = 'learning', table = 'content_items', column = 'content_type';
  end if;
  return new;
end
$$;

comment on function learning.settle_content_item() is
  'Trigger: normalizes the tags, and computes level and window from those of the item and its course.';

create or replace trigger _200_settle_content_item
  before insert or update of
    course_id, content_type, tags, required_access_level, current_version, publish_from, publish_until, deleted_at,
    effective_access_level, available_from, available_until
  on learning.content_items
  for each row
  execute function learning.settle_content_item();

create or replace function learning.settle_lessons()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  -- For learning.record_changed_content, which runs at the end of the whole statement.
  perform set_config('plinth.settles_lessons', 'on', true);
  update learning.content_items i set available_from = i.available_from where i.course_id = new.id;
  perform set_config('plinth.settles_lessons', 'off', true);
  return null;
end
$$;

comment on function learning.settle_lessons() is 'Trigger: copies a course''s new window or level to its lessons.';

create or replace trigger _500_settle_lessons
  after update on learning.content_items
  for each row
  when (
    new.content_type = 'course'
    and (old.available_from, old.available_until, old.effective_access_level)
      is distinct from (new.available_from, new.available_until, new.effective_access_level)
  )
  execute function learning.settle_lessons();

create or replace trigger _110_lock_prerequisites
  before update of course_id on learning.content_items
  for each statement
  execute function learning.lock_prerequisites();

-- A lesson that moves to another course takes on that course's prerequisites.
create or replace function learning.check_moved_lesson()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if exists (
    select
    from learning.content_prerequisites p
    cross join lateral private.content_required_for(p.required_item_id) as r (id)
    where p.item_id in (new.id, new.course_id)
      and r.id in (new.id, new.course_id)
  ) then
    raise exception 'This would make the prerequisites circular.'
      using errcode = 'PL409', schema = 'learning', table = 'content_items', column = 'course_id';
  end if;
  return null;
end
$$;

comment on function learning.check_moved_lesson() is 'Trigger: raises PL409 when a move to another course makes prerequisites circular.';

create or replace trigger _510_check_moved_lesson
  after update of course_id on learning.content_items
  for each row
  when (old.course_id is distinct from new.course_id and new.course_id is not null)
  execute function learning.check_moved_lesson();
--! EndIncluded learning/triggers/content_items.sql
--! Included learning/triggers/content_prerequisites.sql
create or replace trigger _100_lock_prerequisites
  before insert or update on learning.content_prerequisites
  for each statement
  execute function learning.lock_prerequisites();

create or replace function learning.check_prerequisite()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  -- The item, or a part of it: a course's requirements apply to its lessons, too.
  if exists (
    select
    from private.content_required_for(new.required_item_id) as r (id)
    join learning.content_items i on i.id = r.id
    where i.id = new.item_id or i.course_id = new.item_id
  ) then
    raise exception 'This would make the prerequisites circular.'
      using errcode = 'PL409', schema = 'learning', table = 'content_prerequisites', column = 'required_item_id';
  end if;
  return null;
end
$$;

comment on function learning.check_prerequisite() is 'Trigger: raises PL409 for circular prerequisites.';

create or replace trigger _500_check_prerequisite
  after insert or update on learning.content_prerequisites
  for each row
  execute function learning.check_prerequisite();
--! EndIncluded learning/triggers/content_prerequisites.sql
--! Included learning/triggers/content_ratings.sql
-- Totals change with each rating in the same transaction, under the lock of the item's row: exact under concurrent ratings.
create or replace function learning.count_rating()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'UPDATE' and (new.item_id, new.user_id) <> (old.item_id, old.user_id) then
    raise exception 'The item and user of a rating cannot be changed.' using errcode = 'PL409';
  end if;
  update learning.content_items i
  set
    rating_count = i.rating_count + case tg_op when 'INSERT' then 1 when 'DELETE' then -1 else 0 end,
    rating_sum = i.rating_sum
      + case when tg_op = 'DELETE' then 0 else new.rating end
      - case when tg_op = 'INSERT' then 0 else old.rating end
  where i.id = case when tg_op = 'DELETE' then old.item_id else new.item_id end;
  return null;
end
$$;

comment on function learning.count_rating() is 'Trigger: updates an item''s rating_count and rating_sum.';

create or replace trigger _500_count_rating
  after insert or update or delete on learning.content_ratings
  for each row
  execute function learning.count_rating();
--! EndIncluded learning/triggers/content_ratings.sql
--! Included learning/triggers/content_skills.sql
create or replace function learning.record_changed_skills()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_skills uuid[];
begin
  if tg_op = 'INSERT' then
    v_skills := array(select distinct n.skill_id from new_skills n);
  elsif tg_op = 'DELETE' then
    v_skills := array(select distinct o.skill_id from old_skills o);
  else
    v_skills := array(select n.skill_id from new_skills n union select o.skill_id from old_skills o);
  end if;
  if v_skills <> '{}' then
    perform private.record_completions('{}', v_skills);
  end if;
  return null;
end
$$;

comment on function learning.record_changed_skills() is
  'Trigger: records which trainings a change of a skill''s items completed.';

create or replace trigger _050_record_content_before
  before insert or update or delete on learning.content_skills
  for each statement
  execute function learning.record_content_before();

create or replace trigger _800_record_added_skills
  after insert on learning.content_skills
  referencing new table as new_skills
  for each statement
  execute function learning.record_changed_skills();

create or replace trigger _800_record_updated_skills
  after update on learning.content_skills
  referencing old table as old_skills new table as new_skills
  for each statement
  execute function learning.record_changed_skills();

create or replace trigger _800_record_deleted_skills
  after delete on learning.content_skills
  referencing old table as old_skills
  for each statement
  execute function learning.record_changed_skills();
--! EndIncluded learning/triggers/content_skills.sql
--! Included learning/triggers/content_versions.sql
-- A published version never changes: completions name a version, and must keep referring to the same text.
create or replace function learning.guard_published_version()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if old.published_at is not null then
    if tg_op = 'DELETE' then
      -- It may be deleted with the whole item.
      if exists (select from learning.content_items i where i.id = old.item_id) then
        raise exception 'A published version cannot be deleted.' using errcode = 'PL409';
      end if;
    -- The versions of a deleted account remain, without an author.
    elsif to_jsonb(new) - 'created_by' is distinct from to_jsonb(old) - 'created_by' or new.created_by is not null then
      raise exception 'A published version cannot be changed.' using errcode = 'PL409';
    end if;
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function learning.guard_published_version() is 'Trigger: rejects changing or deleting a published version (PL409).';

create or replace trigger _100_guard_published_version
  before update or delete on learning.content_versions
  for each row
  execute function learning.guard_published_version();
--! EndIncluded learning/triggers/content_versions.sql
--! Included learning/triggers/keep_scale.sql
-- See plinth.keep_scale. After the triggers that set these columns.
create or replace trigger _910_keep_scale
  before insert or update of gain on learning.content_skills
  for each row
  execute function plinth.keep_scale('2', 'gain');

create or replace trigger _910_keep_scale
  before insert or update of delta on learning.skill_evidence
  for each row
  execute function plinth.keep_scale('2', 'delta');

create or replace trigger _910_keep_scale
  before insert or update of training_gain on learning.skills
  for each row
  execute function plinth.keep_scale('2', 'training_gain');

create or replace trigger _910_keep_scale
  before insert or update on learning.training
  for each row
  execute function plinth.keep_scale('4', 'progress');

create or replace trigger _910_keep_scale
  before insert or update of level on learning.user_skills
  for each row
  execute function plinth.keep_scale('2', 'level');
--! EndIncluded learning/triggers/keep_scale.sql
--! Included learning/triggers/record_data_change.sql
-- Content permissions and denials are worth auditing. See identity/triggers/record_data_change.sql.
create or replace trigger _700_record_data_change
  after insert or update or delete on learning.user_content_permissions
  for each row
  execute function private.record_data_change('user_id,item_id', 'user_id', 'updated_at', '');
--! EndIncluded learning/triggers/record_data_change.sql
--! Included learning/triggers/skill_evidence.sql
-- The level of a skill is the sum of its evidence, for every writer: inserting, changing or deleting evidence changes the
-- level, and a level written directly (only the owner role may) adds evidence.

-- The row of the level is the lock, so that two concurrent pieces of evidence are both counted: the sum is read by the next
-- statement, which sees the other transaction's commit.
create or replace function learning.sum_skill_evidence()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_row learning.skill_evidence := case when tg_op = 'DELETE' then old else new end;
  v_level numeric;
begin
  perform from learning.user_skills us
  where us.user_id = v_row.user_id and us.skill_id = v_row.skill_id
  for no key update;
  select coalesce(sum(e.delta), 0) into v_level
  from learning.skill_evidence e
  where e.user_id = v_row.user_id and e.skill_id = v_row.skill_id;
  update learning.user_skills us
  set level = v_level
  where us.user_id = v_row.user_id and us.skill_id = v_row.skill_id and us.level <> v_level;
  return null;
end
$$;

comment on function learning.sum_skill_evidence() is 'Trigger: sets a level to the sum of its evidence.';

create or replace trigger _500_sum_skill_evidence
  after insert or update of delta or delete on learning.skill_evidence
  for each row
  execute function learning.sum_skill_evidence();
--! EndIncluded learning/triggers/skill_evidence.sql
--! Included learning/triggers/touch_updated_at.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on learning.content_skills
  for each row
  execute function plinth.touch_updated_at();

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on learning.training
  for each row
  execute function plinth.touch_updated_at();

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on learning.content_categories
  for each row
  execute function plinth.touch_updated_at();

-- Not for ratings: they change the totals but not the item's metadata.
create or replace trigger _900_touch_updated_at
  before update of
    category_id, course_id, position, slug, content_type, title, summary, level, duration_seconds, language, tags, author_id,
    required_access_level, is_preview, current_version, publish_from, publish_until, deleted_at
  on learning.content_items
  for each row
  execute function plinth.touch_updated_at('search_document', 'rating_average');

create or replace trigger _900_touch_updated_at
  before update on learning.content_versions
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on learning.content_ratings
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on learning.user_content_permissions
  for each row
  execute function plinth.touch_updated_at();

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on learning.user_skills
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on learning.skills
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded learning/triggers/touch_updated_at.sql
--! Included learning/triggers/training.sql
-- The states of a training, for every writer: pending → active, active → pending (a pause) or completed, completed → active
-- (the next run, from the beginning). A row is the training of its user and skill, so there is never a second one.
create or replace function learning.move_training()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'INSERT' then
    if new.status = 'active' and new.progress = 1 then
      new.status := 'completed';
    end if;
    new.started_at := case when new.status <> 'pending' then coalesce(new.started_at, clock_timestamp()) end;
    new.completed_at := case when new.status = 'completed' then coalesce(new.completed_at, clock_timestamp()) end;
    return new;
  end if;

  -- Full progress and completion imply each other.
  if old.status = 'active' and (new.progress = 1 or new.status = 'completed') and new.status <> 'pending' then
    new.status := 'completed';
    new.progress := 1;
  end if;
  if old.status = 'completed' and new.status = 'active' and new.run = old.run then
    new.run := old.run + 1;
    new.progress := case when new.progress = old.progress then 0 else new.progress end;
  end if;

  if (old.status, new.status) in (('pending', 'completed'), ('completed', 'pending')) then
    raise exception 'A % training cannot become %.', old.status, new.status
      using errcode = 'PL409', schema = 'learning', table = 'training', column = 'status';
  end if;
  if new.status = old.status and new.status <> 'active' and new.progress <> old.progress then
    raise exception 'Only an active training can make progress.'
      using errcode = 'PL409', schema = 'learning', table = 'training', column = 'status';
  end if;

  if new.status = 'active' and old.status <> 'active' and (old.status = 'completed' or old.started_at is null) then
    new.started_at := clock_timestamp();
  end if;
  new.completed_at := case
    when new.status <> 'completed' then null
    when old.status <> 'completed' then clock_timestamp()
    else old.completed_at
  end;
  return new;
end
$$;

comment on function learning.move_training() is
  'Trigger: the state machine of a training; PL409 for an invalid transition.';

create or replace trigger _100_move_training
  before insert or update on learning.training
  for each row
  execute function learning.move_training();

-- Each completed run is evidence once, however often it is reported.
create or replace function learning.credit_training()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.add_skill_evidence(
    new.user_id, new.skill_id, 'training',
    (select s.training_gain from learning.skills s where s.id = new.skill_id),
    'training:' || new.run
  );
  return null;
end
$$;

comment on function learning.credit_training() is 'Trigger: records a completed training as evidence of the skill.';

create or replace trigger _500_credit_training_begun
  after insert on learning.training
  for each row
  when (new.status = 'completed')
  execute function learning.credit_training();

create or replace trigger _500_credit_training
  after update on learning.training
  for each row
  when (new.status = 'completed' and old.status <> 'completed')
  execute function learning.credit_training();

-- Items that the user completed before count for a new training.
create or replace function learning.count_completed_items()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.advance_training(new.user_id, new.skill_id);
  return null;
end
$$;

comment on function learning.count_completed_items() is 'Trigger: starts a training at the progress of the items its user has completed.';

create or replace trigger _600_count_completed_items
  after insert or update of status on learning.training
  for each row
  when (new.status = 'active')
  execute function learning.count_completed_items();
--! EndIncluded learning/triggers/training.sql
--! Included learning/triggers/user_content_permissions.sql
create or replace function learning.forget_checked_access()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_permission learning.user_content_permissions := case when tg_op = 'DELETE' then old else new end;
begin
  update learning.content_progress p
  set access_checked_at = null
  from learning.content_items i
  where p.user_id = v_permission.user_id
    and p.item_id = i.id
    and p.access_checked_at is not null
    -- A permission on a course applies to its parts.
    and (i.id = v_permission.item_id or i.course_id = v_permission.item_id);
  return null;
end
$$;

comment on function learning.forget_checked_access() is 'Trigger: a changed permission applies from the next heartbeat on.';

create or replace trigger _500_forget_checked_access
  after insert or update or delete on learning.user_content_permissions
  for each row
  execute function learning.forget_checked_access();
--! EndIncluded learning/triggers/user_content_permissions.sql
--! Included learning/triggers/user_skills.sql
create or replace function learning.note_skill_level()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_unexplained numeric;
begin
  select new.level - coalesce(sum(e.delta), 0) into v_unexplained
  from learning.skill_evidence e
  where e.user_id = new.user_id and e.skill_id = new.skill_id;
  if v_unexplained <> 0 then
    insert into learning.skill_evidence (user_id, skill_id, kind, delta)
    values (
      new.user_id, new.skill_id, case tg_op when 'INSERT' then 'initial' else 'adjustment' end, v_unexplained
    );
  end if;
  return null;
end
$$;

comment on function learning.note_skill_level() is 'Trigger: adds evidence for a level that was written directly.';

create or replace trigger _500_note_skill_level
  after insert or update of level on learning.user_skills
  for each row
  execute function learning.note_skill_level();
--! EndIncluded learning/triggers/user_skills.sql
--! Included learning/views/my_content_access.sql
-- The content the caller may read. As a field of an item it is that item's `access`: a page of items with their access stays
-- one query, which begins with the items of the page and looks the caller up once.
create or replace view learning.my_content_access
  with (security_invoker = true)
as
select
  i.id as content_id,
  learning.gives_access(r.reason) as has_access,
  r.reason,
  i.effective_access_level as required_access_level
from learning.content_items i
-- A user has few permissions. A permission on the item takes precedence over one on its course.
left join learning.user_content_permissions own
  on own.user_id = (select plinth.current_user_id())
  and own.item_id = i.id
  and (own.expires_at is null or own.expires_at > now())
left join learning.user_content_permissions course
  on course.user_id = (select plinth.current_user_id())
  and course.item_id = i.course_id
  and (course.expires_at is null or course.expires_at > now())
-- `offset 0`: computed once per item, and not once per column that shows it.
cross join lateral (
  select learning.access_reason(
    (select access.has_permission('edit_content')),
    i.author_id = (select plinth.current_user_id()),
    i.available_from <= now() and (i.available_until is null or i.available_until > now()),
    coalesce(own.permission, course.permission),
    i.is_preview,
    (select plinth.current_user_id()) is not null,
    i.effective_access_level,
    (select learning.user_plan_level(plinth.current_user_id())),
    coalesce(own.waives_prerequisites, course.waives_prerequisites),
    exists (
      select
      from learning.content_prerequisites p
      where p.item_id in (i.id, i.course_id)
        and not learning.is_prerequisite_met((select plinth.current_user_id()), p.required_item_id)
    )
  ) as reason
  offset 0
) r;

comment on view learning.my_content_access is
  E'@name contentAccessDecision\n'
  '@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  '@primaryKey content_id\n'
  '@foreignKey (content_id) references learning.content_items (id)|@fieldName item|@foreignFieldName access\n'
  'Grain: one row per item that the caller, even a visitor, can see: whether the caller may read its text, and why.';
comment on column learning.my_content_access.content_id is 'The item.';
comment on column learning.my_content_access.has_access is 'Whether the caller may read its text.';
comment on column learning.my_content_access.reason is
  'Reason. With access: editor, author, preview, permission or plan. Without: not_available, denied, sign_in_required, plan_required or prerequisites_missing.';
comment on column learning.my_content_access.required_access_level is 'Access level that a plan needs.';
revoke all on learning.my_content_access from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.my_content_access to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/views/my_content_access.sql
--! Included learning/policies/content_bodies.sql
-- The access gate. Only save_draft writes here.
revoke all on learning.content_bodies from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.content_bodies to :PLINTH_ANONYMOUS, :PLINTH_USER;

drop policy if exists select_accessible on learning.content_bodies;
create policy select_accessible on learning.content_bodies
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (
    exists (
      select
      from learning.content_items i
      join learning.my_content_access a on a.content_id = i.id
      where i.id = item_id and i.current_version = version and a.has_access
    )
  );
comment on policy select_accessible on learning.content_bodies is
  'Users with access to an item read its published text; see learning.access_reason.';

drop policy if exists select_author on learning.content_bodies;
create policy select_author on learning.content_bodies
  for select to :PLINTH_USER
  using (
    exists (
      select from learning.content_items i where i.id = item_id and i.author_id = (select plinth.current_user_id())
    )
  );
comment on policy select_author on learning.content_bodies is 'Authors read all texts of their items, including drafts.';

drop policy if exists select_editor on learning.content_bodies;
create policy select_editor on learning.content_bodies
  for select to :PLINTH_USER
  using ((select access.has_permission('edit_content')));
comment on policy select_editor on learning.content_bodies is 'Users with edit_content read all texts.';
--! EndIncluded learning/policies/content_bodies.sql
--! Included learning/policies/content_categories.sql
-- Everyone sees the tree; users with edit_content change it. No grant on path and depth: triggers set them.
revoke all on learning.content_categories from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.content_categories to :PLINTH_ANONYMOUS;
grant
  select,
  insert (parent_id, slug, name, description, position),
  update (parent_id, slug, name, description, position),
  delete
  on learning.content_categories to :PLINTH_USER;

drop policy if exists select_all on learning.content_categories;
create policy select_all on learning.content_categories
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (true);
comment on policy select_all on learning.content_categories is 'Everyone reads the categories.';

drop policy if exists insert_editor on learning.content_categories;
create policy insert_editor on learning.content_categories
  for insert to :PLINTH_USER
  with check ((select access.has_permission('edit_content')));
comment on policy insert_editor on learning.content_categories is 'Users with edit_content add categories.';

drop policy if exists update_editor on learning.content_categories;
create policy update_editor on learning.content_categories
  for update to :PLINTH_USER
  using ((select access.has_permission('edit_content')))
  with check ((select access.has_permission('edit_content')));
comment on policy update_editor on learning.content_categories is 'Users with edit_content change and move categories.';

drop policy if exists delete_editor on learning.content_categories;
create policy delete_editor on learning.content_categories
  for delete to :PLINTH_USER
  using ((select access.has_permission('edit_content')));
comment on policy delete_editor on learning.content_categories is 'Users with edit_content delete empty categories.';
--! EndIncluded learning/policies/content_categories.sql
--! Included learning/policies/content_consumption.sql
-- Viewing sessions are visible only to their user, not even to trainers and administrators. Written by functions only.
revoke all on learning.content_consumption from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.content_consumption to :PLINTH_USER;

drop policy if exists select_own on learning.content_consumption;
create policy select_own on learning.content_consumption
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.content_consumption is 'Users read their own viewing sessions.';
--! EndIncluded learning/policies/content_consumption.sql
--! Included learning/policies/content_items.sql
-- Available items are public; their text is not, see content_bodies. No delete and no grant on columns that functions and
-- triggers set: publish_content, delete_content and similar functions change the state.
revoke all on learning.content_items from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.content_items to :PLINTH_ANONYMOUS;
grant
  select,
  insert (
    category_id, course_id, position, slug, content_type, title, summary, level, duration_seconds, language, tags,
    required_access_level, is_preview
  ),
  update (
    category_id, course_id, position, slug, content_type, title, summary, level, duration_seconds, language, tags,
    required_access_level, is_preview, publish_until
  )
  on learning.content_items to :PLINTH_USER;

drop policy if exists select_available on learning.content_items;
create policy select_available on learning.content_items
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (available_from <= now() and (available_until is null or available_until > now()));
comment on policy select_available on learning.content_items is
  'Everyone reads the metadata of items that are published, within their window and not deleted.';

drop policy if exists select_author on learning.content_items;
create policy select_author on learning.content_items
  for select to :PLINTH_USER
  using (author_id = (select plinth.current_user_id()));
comment on policy select_author on learning.content_items is 'Authors read their own items in any state.';

drop policy if exists all_editor on learning.content_items;
create policy all_editor on learning.content_items
  for all to :PLINTH_USER
  using ((select access.has_permission('edit_content')))
  with check ((select access.has_permission('edit_content')));
comment on policy all_editor on learning.content_items is 'Users with edit_content read, add and change all items.';
--! EndIncluded learning/policies/content_items.sql
--! Included learning/policies/content_prerequisites.sql
-- Prerequisites between two public items are public. Users with edit_content write them.
revoke all on learning.content_prerequisites from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.content_prerequisites to :PLINTH_ANONYMOUS;
grant select, insert (item_id, required_item_id), delete on learning.content_prerequisites to :PLINTH_USER;

drop policy if exists select_visible on learning.content_prerequisites;
create policy select_visible on learning.content_prerequisites
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (
    exists (select from learning.content_items i where i.id = item_id)
    and exists (select from learning.content_items i where i.id = required_item_id)
  );
comment on policy select_visible on learning.content_prerequisites is
  'Users who see both items see that one requires the other.';

drop policy if exists insert_editor on learning.content_prerequisites;
create policy insert_editor on learning.content_prerequisites
  for insert to :PLINTH_USER
  with check ((select access.has_permission('edit_content')));
comment on policy insert_editor on learning.content_prerequisites is 'Users with edit_content add prerequisites.';

drop policy if exists delete_editor on learning.content_prerequisites;
create policy delete_editor on learning.content_prerequisites
  for delete to :PLINTH_USER
  using ((select access.has_permission('edit_content')));
comment on policy delete_editor on learning.content_prerequisites is 'Users with edit_content delete prerequisites.';
--! EndIncluded learning/policies/content_prerequisites.sql
--! Included learning/policies/content_progress.sql
-- Learners read their own, trainers read all for their reports. Written by functions only.
revoke all on learning.content_progress from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.content_progress to :PLINTH_USER;

drop policy if exists select_own on learning.content_progress;
create policy select_own on learning.content_progress
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.content_progress is 'Users read their own progress.';

drop policy if exists select_manager on learning.content_progress;
create policy select_manager on learning.content_progress
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills')));
comment on policy select_manager on learning.content_progress is 'Users with manage_skills read all progress.';
--! EndIncluded learning/policies/content_progress.sql
--! Included learning/policies/content_ratings.sql
-- Users write one rating for each item they may read; the totals on the item are public. Users with edit_content delete abuse.
revoke all on learning.content_ratings from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (item_id, rating, review),
  update (rating, review),
  delete
  on learning.content_ratings to :PLINTH_USER;

drop policy if exists select_own on learning.content_ratings;
create policy select_own on learning.content_ratings
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.content_ratings is 'Users read their own ratings.';

drop policy if exists insert_own on learning.content_ratings;
create policy insert_own on learning.content_ratings
  for insert to :PLINTH_USER
  with check (
    user_id = (select plinth.current_user_id())
    and exists (select from learning.my_content_access a where a.content_id = item_id and a.has_access)
  );
comment on policy insert_own on learning.content_ratings is 'Users rate items they may read.';

drop policy if exists update_own on learning.content_ratings;
create policy update_own on learning.content_ratings
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on learning.content_ratings is 'Users change their own ratings.';

drop policy if exists delete_own on learning.content_ratings;
create policy delete_own on learning.content_ratings
  for delete to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy delete_own on learning.content_ratings is 'Users delete their own ratings.';

drop policy if exists select_editor on learning.content_ratings;
create policy select_editor on learning.content_ratings
  for select to :PLINTH_USER
  using ((select access.has_permission('edit_content')));
comment on policy select_editor on learning.content_ratings is 'Users with edit_content read all ratings.';

drop policy if exists delete_editor on learning.content_ratings;
create policy delete_editor on learning.content_ratings
  for delete to :PLINTH_USER
  using ((select access.has_permission('edit_content')));
comment on policy delete_editor on learning.content_ratings is 'Users with edit_content delete ratings.';
--! EndIncluded learning/policies/content_ratings.sql
--! Included learning/policies/content_skills.sql
-- The skills that an item teaches are as public as the item and the skill; users with edit_content write them.
revoke all on learning.content_skills from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.content_skills to :PLINTH_ANONYMOUS;
grant select, insert (item_id, skill_id, gain), update (gain), delete on learning.content_skills to :PLINTH_USER;

drop policy if exists select_visible on learning.content_skills;
create policy select_visible on learning.content_skills
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (exists (select from learning.content_items i where i.id = item_id));
comment on policy select_visible on learning.content_skills is 'Users who see an item see the skills it teaches.';

drop policy if exists all_editor on learning.content_skills;
create policy all_editor on learning.content_skills
  for all to :PLINTH_USER
  using ((select access.has_permission('edit_content')))
  with check ((select access.has_permission('edit_content')));
comment on policy all_editor on learning.content_skills is 'Users with edit_content set the skills that items teach.';
--! EndIncluded learning/policies/content_skills.sql
--! Included learning/policies/content_versions.sql
-- Only save_draft and publish_content write here.
revoke all on learning.content_versions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.content_versions to :PLINTH_ANONYMOUS, :PLINTH_USER;

drop policy if exists select_published on learning.content_versions;
create policy select_published on learning.content_versions
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (published_at is not null and exists (select from learning.content_items i where i.id = item_id));
comment on policy select_published on learning.content_versions is
  'Users who see an item see which of its versions were published.';

drop policy if exists select_author on learning.content_versions;
create policy select_author on learning.content_versions
  for select to :PLINTH_USER
  using (
    exists (
      select from learning.content_items i where i.id = item_id and i.author_id = (select plinth.current_user_id())
    )
  );
comment on policy select_author on learning.content_versions is 'Authors read all versions of their items.';

drop policy if exists select_editor on learning.content_versions;
create policy select_editor on learning.content_versions
  for select to :PLINTH_USER
  using ((select access.has_permission('edit_content')));
comment on policy select_editor on learning.content_versions is 'Users with edit_content read all versions.';
--! EndIncluded learning/policies/content_versions.sql
--! Included learning/policies/skill_evidence.sql
-- Read by its user and by users with manage_skills; written by functions only, and changed only by the owner role.
revoke all on learning.skill_evidence from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.skill_evidence to :PLINTH_USER;

drop policy if exists select_own on learning.skill_evidence;
create policy select_own on learning.skill_evidence
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.skill_evidence is 'Users read the evidence for their own levels.';

drop policy if exists select_manager on learning.skill_evidence;
create policy select_manager on learning.skill_evidence
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills')));
comment on policy select_manager on learning.skill_evidence is 'Users with manage_skills read all evidence.';
--! EndIncluded learning/policies/skill_evidence.sql
--! Included learning/policies/skills.sql
-- Everyone reads the catalogue; users with manage_skills write it and see inactive skills.
revoke all on learning.skills from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.skills to :PLINTH_ANONYMOUS;
grant
  select,
  insert (skill_name, display_name, description, training_gain, is_active),
  update (skill_name, display_name, description, training_gain, is_active),
  delete
  on learning.skills to :PLINTH_USER;

drop policy if exists select_active on learning.skills;
create policy select_active on learning.skills
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (is_active);
comment on policy select_active on learning.skills is 'Everyone reads the active skills.';

drop policy if exists all_manager on learning.skills;
create policy all_manager on learning.skills
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_skills')))
  with check ((select access.has_permission('manage_skills')));
comment on policy all_manager on learning.skills is 'Users with manage_skills read and write all skills.';
--! EndIncluded learning/policies/skills.sql
--! Included learning/policies/training.sql
-- Read by the learner and by users with manage_skills. Written only by functions: see learning.start_training and similar ones.
revoke all on learning.training from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.training to :PLINTH_USER;

drop policy if exists select_own on learning.training;
create policy select_own on learning.training
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.training is 'Users read their own trainings.';

drop policy if exists select_manager on learning.training;
create policy select_manager on learning.training
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills')));
comment on policy select_manager on learning.training is 'Users with manage_skills read all trainings.';
--! EndIncluded learning/policies/training.sql
--! Included learning/policies/user_content_permissions.sql
-- Users see the decisions about themselves; users with manage_content_access write them. Visitors need the grant, which shows
-- them no rows, for the views that look up a user's permissions.
revoke all on learning.user_content_permissions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.user_content_permissions to :PLINTH_ANONYMOUS;
grant
  select,
  insert (user_id, item_id, permission, waives_prerequisites, reason, expires_at),
  update (permission, waives_prerequisites, reason, expires_at),
  delete
  on learning.user_content_permissions to :PLINTH_USER;

drop policy if exists select_own on learning.user_content_permissions;
create policy select_own on learning.user_content_permissions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.user_content_permissions is 'Users read the permissions and denials that apply to them.';

drop policy if exists all_manager on learning.user_content_permissions;
create policy all_manager on learning.user_content_permissions
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_content_access')))
  with check ((select access.has_permission('manage_content_access')));
comment on policy all_manager on learning.user_content_permissions is
  'Users with manage_content_access read, grant and revoke all.';
--! EndIncluded learning/policies/user_content_permissions.sql
--! Included learning/policies/user_skills.sql
-- Users see their own levels and add skills at level 0; only evidence changes a level. No update, no delete.
revoke all on learning.user_skills from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, insert (skill_id) on learning.user_skills to :PLINTH_USER;

drop policy if exists select_own on learning.user_skills;
create policy select_own on learning.user_skills
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.user_skills is 'Users read their own levels.';

drop policy if exists insert_own on learning.user_skills;
create policy insert_own on learning.user_skills
  for insert to :PLINTH_USER
  with check (
    user_id = (select plinth.current_user_id())
    -- Reads as the caller: the caller cannot see an inactive skill.
    and skill_id in (select s.id from learning.skills s)
  );
comment on policy insert_own on learning.user_skills is 'Users add skills they can see.';

drop policy if exists select_manager on learning.user_skills;
create policy select_manager on learning.user_skills
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills')));
comment on policy select_manager on learning.user_skills is 'Users with manage_skills read all levels.';
--! EndIncluded learning/policies/user_skills.sql
--! Included learning/views/learning_analytics.sql
-- Summary of a user's learning by skill. Invoker rights: users see their own, users with manage_skills see all.
create or replace view learning.learning_analytics
  with (security_invoker = true)
as
with taught as (
  select
    p.user_id,
    cs.skill_id,
    count(*) as items_started,
    count(p.completed_at) as items_completed,
    learning.time_spent(sum(p.active_seconds), array_agg(p.active)) as active_seconds,
    max(p.last_activity_at) as last_activity_at
  from learning.content_skills cs
  join learning.content_progress p on p.item_id = cs.item_id
  group by p.user_id, cs.skill_id
),
evidence as (
  select
    e.user_id,
    e.skill_id,
    count(*) as evidence_count,
    sum(e.delta) filter (where e.created_at > now() - interval '30 days') as level_gained_30_days,
    max(e.created_at) as last_evidence_at
  from learning.skill_evidence e
  group by e.user_id, e.skill_id
)
select
  user_id,
  skill_id,
  coalesce(us.level, 0) as level,
  coalesce(e.level_gained_30_days, 0) as level_gained_30_days,
  coalesce(e.evidence_count, 0)::integer as evidence_count,
  t.status as training_status,
  t.progress as training_progress,
  coalesce(c.items_started, 0)::integer as items_started,
  coalesce(c.items_completed, 0)::integer as items_completed,
  coalesce(c.active_seconds, 0) as active_seconds,
  greatest(c.last_activity_at, e.last_evidence_at, t.updated_at) as last_activity_at
from learning.user_skills us
full join learning.training t using (user_id, skill_id)
full join taught c using (user_id, skill_id)
left join evidence e using (user_id, skill_id);

comment on view learning.learning_analytics is
  E'@primaryKey user_id,skill_id\n'
  '@foreignKey (user_id) references identity.users (id)|@behavior -*\n'
  '@foreignKey (skill_id) references learning.skills (id)|@foreignFieldName analytics\n'
  '@name learning_analytics\n'
  'Grain: one row per user and skill that the user has, trains or has content for.';
comment on column learning.learning_analytics.user_id is 'The user.';
comment on column learning.learning_analytics.skill_id is 'The skill.';
comment on column learning.learning_analytics.level is 'Proficiency, 0 to 10.';
comment on column learning.learning_analytics.level_gained_30_days is 'Change of the level in the last 30 days.';
comment on column learning.learning_analytics.evidence_count is 'Number of pieces of evidence.';
comment on column learning.learning_analytics.training_status is 'Status of the training: pending, active or completed; null without one.';
comment on column learning.learning_analytics.training_progress is 'Progress, 0.0 to 1.0; null without a training.';
comment on column learning.learning_analytics.items_started is 'Number of started items that teach the skill.';
comment on column learning.learning_analytics.items_completed is 'Number of those items that were completed.';
comment on column learning.learning_analytics.active_seconds is 'Time spent with them, in seconds. An item that teaches two skills counts for both.';
comment on column learning.learning_analytics.last_activity_at is 'Time of the last change of any of these.';
revoke all on learning.learning_analytics from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.learning_analytics to :PLINTH_USER;
--! EndIncluded learning/views/learning_analytics.sql
--! Included learning/views/my_item_progress.sql
-- The caller's progress in all countable items: available now and not a course, because a course is its parts. Courses and
-- categories are sums of these rows only, so that they always agree.
create or replace view learning.my_item_progress
  with (security_invoker = true)
as
select
  i.id as item_id,
  i.course_id,
  i.category_id,
  p.completed_at is not null as is_completed,
  coalesce(p.progress, 0) as progress,
  coalesce(p.active_seconds, 0) as active_seconds,
  p.last_activity_at,
  p.active
from learning.content_items i
left join learning.content_progress p
  on p.item_id = i.id
  and p.user_id = (select plinth.current_user_id())
where i.content_type <> 'course'
  and i.available_from <= now()
  and (i.available_until is null or i.available_until > now());

comment on view learning.my_item_progress is
  E'@behavior -*\nGrain: one row per available item that is not a course: the caller''s progress in it.';
comment on column learning.my_item_progress.item_id is 'The item.';
comment on column learning.my_item_progress.course_id is 'Course that contains the item, or null.';
comment on column learning.my_item_progress.category_id is 'Category of the item.';
comment on column learning.my_item_progress.is_completed is 'Whether the item was completed, in any version.';
comment on column learning.my_item_progress.progress is 'Progress, 0.0 to 1.0; 1 is completed.';
comment on column learning.my_item_progress.active_seconds is 'Time spent with the item, in seconds.';
comment on column learning.my_item_progress.last_activity_at is 'Time the item was last played; null if never.';
comment on column learning.my_item_progress.active is 'Time ranges of the active seconds; see learning.time_spent.';
revoke all on learning.my_item_progress from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.my_item_progress to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/views/my_item_progress.sql
--! Included learning/views/user_content_access.sql
-- The content that each user may read; a disabled or deleted account may read none. Users see their own access; users who
-- manage access, and the owner in psql without claims, see all. Always filter by user or by items: all users times all items is
-- a large table.
create or replace view learning.user_content_access
  with (security_invoker = true)
as
select
  u.id as user_id,
  i.id as content_id,
  learning.gives_access(r.reason) as has_access,
  r.reason,
  i.effective_access_level as required_access_level
from identity.users u
cross join lateral (
  select learning.user_plan_level(u.id) as plan_level, learning.is_content_editor(u.id) as is_editor
  offset 0
) l
cross join learning.content_items i
-- A user has few permissions. A permission on the item takes precedence over one on its course.
left join learning.user_content_permissions own
  on own.user_id = u.id
  and own.item_id = i.id
  and (own.expires_at is null or own.expires_at > now())
left join learning.user_content_permissions course
  on course.user_id = u.id
  and course.item_id = i.course_id
  and (course.expires_at is null or course.expires_at > now())
-- `offset 0`: computed once per item, and not once per column that shows it.
cross join lateral (
  select case when not u.is_active then 'account_inactive' else learning.access_reason(
    l.is_editor,
    i.author_id = u.id,
    i.available_from <= now() and (i.available_until is null or i.available_until > now()),
    coalesce(own.permission, course.permission),
    i.is_preview,
    true,
    i.effective_access_level,
    l.plan_level,
    coalesce(own.waives_prerequisites, course.waives_prerequisites),
    exists (
      select
      from learning.content_prerequisites p
      where p.item_id in (i.id, i.course_id)
        and not learning.is_prerequisite_met(u.id, p.required_item_id)
    )
  ) end as reason
  offset 0
) r
where u.id = (select plinth.current_user_id())
  or (select plinth.current_user_id()) is null
  or (select access.has_permission('manage_content_access'));

comment on view learning.user_content_access is
  E'@behavior -*\nGrain: one row per user and item that the caller can see: whether the user may read its text, and why.';
comment on column learning.user_content_access.user_id is 'The user.';
comment on column learning.user_content_access.content_id is 'The item.';
comment on column learning.user_content_access.has_access is 'Whether the user may read the item''s text.';
comment on column learning.user_content_access.reason is
  'Reason. With access: editor, author, preview, permission or plan. Without: account_inactive, not_available, denied, sign_in_required, plan_required or prerequisites_missing.';
comment on column learning.user_content_access.required_access_level is 'Access level that a plan needs.';
revoke all on learning.user_content_access from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.user_content_access to :PLINTH_USER;
--! EndIncluded learning/views/user_content_access.sql

-- This month and the next three; the worker adds later months every day.
select from private.ensure_partitions(3);
