--! Previous: sha1:424c7b4dc54a471338ce755b4533486d11dc50d0
--! Hash: sha1:593c27207c84ec0da247266d691241566be9b05c
--! Message: learning content

-- Content and who may see it: a tree of categories, items with immutable versions, bodies apart from what is public about
-- them, ratings, explicit permissions, and search.

create schema if not exists learning;
comment on schema learning is 'Skills, content, who may see it, and how far people are.';
grant usage on schema learning to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Search forgives typing errors. A trusted extension: no superuser is needed.
create extension if not exists pg_trgm with schema plinth;

insert into access.permissions (permission_name, description) values
  ('manage_content_access', 'Allow or deny single users single pieces of content.');
insert into access.role_permissions (role_id, permission_id)
select r.id, p.id
from access.roles r
join access.permissions p on p.permission_name = 'manage_content_access'
where r.role_name = 'admin';

-- What must be done one at a time, whatever the isolation level: a row that is updated first. An advisory lock would not do
-- where a transaction keeps an old view of the data; an update of the same row fails there instead.
create table private.content_locks (
  lock_name text primary key,
  taken bigint not null default 0
);

alter table private.content_locks enable row level security;

comment on table private.content_locks is 'One row per part of the content that is changed by one transaction at a time.';
comment on column private.content_locks.lock_name is 'categories (the tree) or prerequisites (the graph).';
comment on column private.content_locks.taken is 'How often it was taken.';
insert into private.content_locks (lock_name) values ('categories'), ('prerequisites');

-- The tree of subjects. `path` is kept by triggers: a subtree is a prefix, and a move rewrites it.
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

-- Subtrees by prefix, whatever the collation. The unique key serves parent_id.
create index content_categories_path_prefix_idx on learning.content_categories (path text_pattern_ops);

comment on table learning.content_categories is 'One row per category; categories form a tree.';
comment on column learning.content_categories.id is 'UUIDv7.';
comment on column learning.content_categories.parent_id is 'The category it is in; null at the top. Change it to move the subtree.';
comment on column learning.content_categories.slug is 'Name in addresses, unique among siblings: lower case letters, digits and hyphens, at most 60.';
comment on column learning.content_categories.name is 'Name shown to people.';
comment on column learning.content_categories.description is 'What belongs here.';
comment on column learning.content_categories.position is 'Order among siblings.';
comment on column learning.content_categories.path is 'Slugs from the top, joined by slashes; kept by the database.';
comment on column learning.content_categories.depth is '1 at the top, at most 10; kept by the database.';
comment on column learning.content_categories.created_at is 'When it was made.';
comment on column learning.content_categories.updated_at is 'When the row last changed.';

--! Included learning/functions/search_document.sql
-- Which of PostgreSQL's text search configurations reads a language: the part before the first hyphen decides, and a
-- language without one is taken word by word. Immutable, because a configuration of that name does not change its meaning.
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
  E'@behavior -*\nThe text search configuration of a language tag; simple where PostgreSQL has none.';

-- What an item is found by: its title first, then its tags, then its summary. The body is left out on purpose: a match would
-- tell what stands in a text that the searcher may not read. Items store the result, so a change here needs
-- `update learning.content_items set title = title` in its migration.
create or replace function learning.search_document(language text, title text, summary text, tags text[])
  returns tsvector
  language sql
  immutable
  parallel safe
as $$
  select
    setweight(to_tsvector(learning.search_configuration(language), title), 'A')
    || setweight(to_tsvector(learning.search_configuration(language), array_to_string(tags, ' ')), 'B')
    || setweight(to_tsvector(learning.search_configuration(language), summary), 'C')
$$;

comment on function learning.search_document(text, text, text, text[]) is
  E'@behavior -*\nThe words of an item, stemmed in its language and weighted: title A, tags B, summary C.';
-- A stored column is worked out with the rights of who writes the row.
grant execute on function learning.search_configuration(text), learning.search_document(text, text, text, text[])
  to :PLINTH_USER;
--! EndIncluded learning/functions/search_document.sql

-- What is public about a piece of content. Its text is in content_bodies, which needs access.
create table learning.content_items (
  id uuid primary key default plinth.uuid_v7(),
  category_id uuid not null references learning.content_categories on delete restrict,
  -- The course that a lesson is a part of. A course's window, level and prerequisites hold for its lessons too.
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
  -- What the item and its course say together, kept by triggers: policies and access decisions read one row.
  effective_access_level integer not null default 0,
  available_from timestamptz,
  available_until timestamptz,
  -- Exact under concurrency: changed with each rating, under the row's lock.
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
  -- The scale of user_skills.level, so that content can be matched to proficiency.
  constraint content_items_level_check check (level between 0 and 10),
  constraint content_items_duration_seconds_is_positive check (duration_seconds > 0),
  constraint content_items_language_check check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$'),
  constraint content_items_tags_check check (cardinality(tags) <= 30 and array_position(tags, null) is null),
  constraint content_items_required_access_level_check check (required_access_level between 0 and 1000000),
  constraint content_items_course_is_not_in_a_course check (course_id is null or content_type <> 'course'),
  constraint content_items_published_has_a_start check (current_version is null or publish_from is not null),
  constraint content_items_window_ends_after_its_start check (publish_until > publish_from),
  constraint content_items_rating_totals_agree check (rating_sum between rating_count and 5 * rating_count::bigint)
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
-- Which languages there are, and the items of one.
create index content_items_language_idx on learning.content_items (language);
create index content_items_content_type_idx on learning.content_items (content_type);
create index content_items_level_idx on learning.content_items (level);
create index content_items_tags_idx on learning.content_items using gin (tags);
-- Search: by words, and by trigrams of the title when no word fits.
create index content_items_search_document_idx on learning.content_items using gin (search_document);
create index content_items_title_trigram_idx on learning.content_items using gin (title plinth.gin_trgm_ops);

comment on table learning.content_items is
  'One row per piece of content: what may be public about it. The text is in content_bodies.';
comment on column learning.content_items.id is 'UUIDv7.';
comment on column learning.content_items.category_id is 'Where it is filed.';
comment on column learning.content_items.course_id is 'The course it is a part of, or null.';
comment on column learning.content_items.position is 'Order within the course.';
comment on column learning.content_items.slug is 'Unique name in addresses and in imports: lower case letters, digits and hyphens, at most 120.';
comment on column learning.content_items.content_type is 'course, lesson, article, video, exercise, quiz or project.';
comment on column learning.content_items.title is 'Title, 1 to 300 characters.';
comment on column learning.content_items.summary is 'What it is about, for everybody; up to 5000 characters.';
comment on column learning.content_items.level is 'How much must be known before, 0 to 10, on the scale of skill levels.';
comment on column learning.content_items.duration_seconds is 'How long it takes, in seconds; null when unknown.';
comment on column learning.content_items.language is 'Language tag (BCP 47), such as en or pt-BR. Search follows it.';
comment on column learning.content_items.tags is 'Up to 30 words to find it by; kept in lower case, sorted, each once.';
comment on column learning.content_items.author_id is 'Who wrote it; sees it before it is published. Null for an import or a deleted account.';
comment on column learning.content_items.required_access_level is
  'Plans of this access level and above include it; null means what its course says, or 0.';
comment on column learning.content_items.is_preview is 'Whether everybody may read it, visitors too, whatever the plan.';
comment on column learning.content_items.current_version is 'The published version; null while it is a draft or withdrawn.';
comment on column learning.content_items.publish_from is 'When it appears.';
comment on column learning.content_items.publish_until is 'When it disappears; null for never.';
comment on column learning.content_items.deleted_at is 'When it was deleted; restore_content brings it back. Null otherwise.';
comment on column learning.content_items.effective_access_level is 'The access level that counts: its own, or its course''s. Kept by the database.';
comment on column learning.content_items.available_from is
  'When it and its course have both appeared; null while one of them is unpublished or deleted. Kept by the database.';
comment on column learning.content_items.available_until is 'When it or its course disappears; null for never. Kept by the database.';
comment on column learning.content_items.rating_count is 'How many users rated it.';
comment on column learning.content_items.rating_sum is 'Sum of their ratings.';
comment on column learning.content_items.rating_average is 'Average rating, 1.00 to 5.00; null without ratings.';
comment on column learning.content_items.created_at is 'When it was added.';
comment on column learning.content_items.updated_at is 'When what is said about it last changed.';
comment on column learning.content_items.search_document is E'@behavior -*\nWhat search finds it by: title, tags and summary, stemmed in its language.';

-- A state of the text. A draft may change; what was published never does, so that a completion can name what was completed.
create table learning.content_versions (
  item_id uuid not null references learning.content_items on delete cascade,
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

-- One draft at a time.
create unique index content_versions_draft_idx on learning.content_versions (item_id) where published_at is null;
-- Serves the foreign key.
create index content_versions_created_by_idx on learning.content_versions (created_by);

comment on table learning.content_versions is 'One row per version of an item. Published ones never change.';
comment on column learning.content_versions.item_id is 'The item.';
comment on column learning.content_versions.version is 'Counts the item''s versions from 1.';
comment on column learning.content_versions.change_note is 'What is new in it.';
comment on column learning.content_versions.created_by is 'Who wrote it; null for an import or a deleted account.';
comment on column learning.content_versions.created_at is 'When it was begun.';
comment on column learning.content_versions.updated_at is 'When the draft last changed.';
comment on column learning.content_versions.published_at is 'When it was published; null for the draft.';

alter table learning.content_items
  add constraint content_items_current_version_fkey
  foreign key (id, current_version) references learning.content_versions (item_id, version) on delete restrict;

-- The text itself, apart from what is public: a policy here decides who reads.
create table learning.content_bodies (
  item_id uuid not null,
  version integer not null,
  body_format text not null default 'markdown',
  body text not null,
  primary key (item_id, version),
  constraint content_bodies_item_id_version_fkey
    foreign key (item_id, version) references learning.content_versions (item_id, version) on delete cascade,
  constraint content_bodies_body_format_check check (body_format in ('markdown', 'html', 'text', 'json', 'url')),
  constraint content_bodies_body_check check (length(body) >= 1 and octet_length(body) <= 4000000)
);

alter table learning.content_bodies enable row level security;

comment on table learning.content_bodies is 'One row per version that has a text. Read by who has access to the item.';
comment on column learning.content_bodies.item_id is 'The item.';
comment on column learning.content_bodies.version is 'The version.';
comment on column learning.content_bodies.body_format is 'markdown, html, text, json, or url where the text lies elsewhere.';
comment on column learning.content_bodies.body is 'The text, up to 4,000,000 bytes.';

create table learning.content_prerequisites (
  item_id uuid not null references learning.content_items on delete cascade,
  required_item_id uuid not null references learning.content_items on delete cascade,
  created_at timestamptz not null default now(),
  primary key (item_id, required_item_id),
  constraint content_prerequisites_is_not_its_own check (item_id <> required_item_id)
);

alter table learning.content_prerequisites enable row level security;

-- Serves the foreign key and "what does this open".
create index content_prerequisites_required_item_id_idx on learning.content_prerequisites (required_item_id);

comment on table learning.content_prerequisites is 'One row per item that must be completed before another opens.';
comment on column learning.content_prerequisites.item_id is 'What opens; for a course, each of its lessons too.';
comment on column learning.content_prerequisites.required_item_id is 'What must be completed before. It counts while it is available.';
comment on column learning.content_prerequisites.created_at is 'Since when.';

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

comment on table learning.content_ratings is 'One row per user and item they rated. Totals are on the item.';
comment on column learning.content_ratings.item_id is 'What was rated.';
comment on column learning.content_ratings.user_id is 'Who rated it.';
comment on column learning.content_ratings.rating is '1 to 5.';
comment on column learning.content_ratings.review is 'What they say of it, or empty.';
comment on column learning.content_ratings.created_at is 'When it was first rated.';
comment on column learning.content_ratings.updated_at is 'When the rating last changed.';

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
  'One row per user and item that was allowed or denied to them, whatever their plan. On a course it counts for its lessons that have none of their own.';
comment on column learning.user_content_permissions.user_id is 'Whose access.';
comment on column learning.user_content_permissions.item_id is 'To what.';
comment on column learning.user_content_permissions.permission is 'allow (in place of a plan) or deny (whatever the plan).';
comment on column learning.user_content_permissions.waives_prerequisites is 'Whether an allow also lets past what must be completed before.';
comment on column learning.user_content_permissions.reason is 'Why, for whoever asks later.';
comment on column learning.user_content_permissions.granted_by is 'Who decided; null for the system or a deleted account.';
comment on column learning.user_content_permissions.granted_at is 'When.';
comment on column learning.user_content_permissions.expires_at is 'From then on it no longer counts; null means it does not expire.';
comment on column learning.user_content_permissions.updated_at is 'When the row last changed.';

-- What relations are called in the API.
comment on constraint content_categories_parent_id_fkey on learning.content_categories is
  E'@fieldName parent\n@foreignFieldName children';
comment on constraint content_items_category_id_fkey on learning.content_items is E'@fieldName category\n@foreignFieldName items';
comment on constraint content_items_course_id_fkey on learning.content_items is E'@fieldName course\n@foreignFieldName parts';
comment on constraint content_items_current_version_fkey on learning.content_items is
  E'@fieldName publishedVersion\n@foreignFieldName publishedItem';
comment on constraint content_versions_item_id_fkey on learning.content_versions is E'@fieldName item\n@foreignFieldName versions';
comment on constraint content_bodies_item_id_version_fkey on learning.content_bodies is
  E'@fieldName contentVersion\n@foreignFieldName contentBody';
comment on constraint content_prerequisites_item_id_fkey on learning.content_prerequisites is
  E'@fieldName item\n@foreignFieldName prerequisites';
comment on constraint content_prerequisites_required_item_id_fkey on learning.content_prerequisites is
  E'@fieldName requiredItem\n@foreignFieldName requiredBy';
comment on constraint content_ratings_item_id_fkey on learning.content_ratings is E'@fieldName item\n@foreignFieldName ratings';
comment on constraint user_content_permissions_item_id_fkey on learning.user_content_permissions is
  E'@fieldName item\n@foreignFieldName userPermissions';

--! Included learning/triggers/content_categories.sql
-- One change of the tree at a time, or two moves that are each harmless could make a circle together. Taken before the
-- statement locks any row, so that two of them cannot wait for each other.
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

comment on function learning.lock_content_tree() is 'Trigger: changes of the category tree happen one after another.';

create or replace trigger _100_lock_content_tree
  before insert or update of parent_id, slug, path on learning.content_categories
  for each statement
  execute function learning.lock_content_tree();

-- The path is the parent's and the slug, whatever a client sends.
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
  -- Upwards by parents and not by paths: in a statement that moves several, paths are not all new yet.
  if exists (
    with recursive above as (
      select c.id, c.parent_id from learning.content_categories c where c.id = new.parent_id
      union
      select c.id, c.parent_id from above a join learning.content_categories c on c.id = a.parent_id
    )
    select from above where above.id = new.id
  ) then
    raise exception 'A category cannot be moved into itself or below itself.'
      using errcode = 'PL409', schema = 'learning', table = 'content_categories', column = 'parent_id';
  end if;
  select * into v_parent from learning.content_categories c where c.id = new.parent_id;
  -- An unknown parent is left to the foreign key.
  new.path := coalesce(v_parent.path || '/', '') || new.slug;
  new.depth := coalesce(v_parent.depth, 0) + 1;
  return new;
end
$$;

comment on function learning.place_category() is 'Trigger: gives a category its path and depth; PL409 for a circle.';

create or replace trigger _200_place_category
  before insert or update of parent_id, slug, path, depth on learning.content_categories
  for each row
  execute function learning.place_category();

-- What is below a moved category moves with it, nearest first, so that each row is placed under a parent in its new place.
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

comment on function learning.move_subcategories() is 'Trigger: the categories below a moved one get their new paths.';

create or replace trigger _500_move_subcategories
  after update of parent_id, slug, path, depth on learning.content_categories
  for each row
  when (old.path is distinct from new.path)
  execute function learning.move_subcategories();
--! EndIncluded learning/triggers/content_categories.sql
--! Included learning/triggers/content_items.sql
-- What holds for an item is said on the item: its course's window and level are written down here, so that a policy reads
-- one row. The course is locked against change meanwhile, and its own changes reach its lessons by the trigger below.
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
    raise exception 'A tag has at most 60 characters and no comma.'
      using errcode = 'PL422', schema = 'learning', table = 'content_items', column = 'tags';
  end if;

  new.effective_access_level := coalesce(new.required_access_level, 0);
  new.available_from := case when new.deleted_at is null and new.current_version is not null then new.publish_from end;
  new.available_until := new.publish_until;
  if new.course_id is not null then
    select * into v_course from learning.content_items c where c.id = new.course_id for share;
    if v_course.content_type <> 'course' then
      raise exception 'Only a course has parts.'
        using errcode = 'PL422', schema = 'learning', table = 'content_items', column = 'course_id';
    end if;
    new.effective_access_level := coalesce(new.required_access_level, v_course.effective_access_level, 0);
    -- greatest() would pass over the null of a course that is not there.
    new.available_from := case when v_course.available_from is not null and new.available_from is not null
      then greatest(new.available_from, v_course.available_from) end;
    new.available_until := least(new.available_until, v_course.available_until);
  elsif tg_op = 'UPDATE' and new.content_type <> 'course' and old.content_type = 'course'
    and exists (select from learning.content_items i where i.course_id = new.id)
  then
    raise exception 'A course that has parts stays a course.'
      using errcode = 'PL409', schema = 'learning', table = 'content_items', column = 'content_type';
  end if;
  return new;
end
$$;

comment on function learning.settle_content_item() is
  'Trigger: tidies the tags, and works out level and window from the item''s own and its course''s.';

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
  update learning.content_items i set available_from = i.available_from where i.course_id = new.id;
  return null;
end
$$;

comment on function learning.settle_lessons() is 'Trigger: a course''s new window or level reaches its lessons.';

create or replace trigger _500_settle_lessons
  after update on learning.content_items
  for each row
  when (
    new.content_type = 'course'
    and (old.available_from, old.available_until, old.effective_access_level)
      is distinct from (new.available_from, new.available_until, new.effective_access_level)
  )
  execute function learning.settle_lessons();
--! EndIncluded learning/triggers/content_items.sql
--! Included learning/triggers/content_versions.sql
-- What was published stays as it was: completions name a version, and must go on naming the same text.
create or replace function learning.guard_published_version()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if old.published_at is not null then
    if tg_op = 'DELETE' then
      -- With the whole item it may go.
      if exists (select from learning.content_items i where i.id = old.item_id) then
        raise exception 'A published version stays.' using errcode = 'PL409';
      end if;
    -- A deleted account leaves its versions without an author.
    elsif to_jsonb(new) - 'created_by' is distinct from to_jsonb(old) - 'created_by' or new.created_by is not null then
      raise exception 'A published version does not change.' using errcode = 'PL409';
    end if;
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function learning.guard_published_version() is 'Trigger: a published version neither changes nor goes (PL409).';

create or replace trigger _100_guard_published_version
  before update or delete on learning.content_versions
  for each row
  execute function learning.guard_published_version();

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
  -- Going with its version, it finds none. The lock lets no publication come between.
  if exists (
    select from (
      select v.published_at
      from learning.content_versions v
      where v.item_id = v_item_id and v.version = v_version
      for share
    ) v
    where v.published_at is not null
  ) then
    raise exception 'The text of a published version does not change.' using errcode = 'PL409';
  end if;
  if tg_op = 'UPDATE' and (new.item_id, new.version) <> (old.item_id, old.version) then
    raise exception 'A text stays with its version.' using errcode = 'PL409';
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function learning.guard_published_body() is 'Trigger: the text of a published version neither changes, nor goes, nor comes later (PL409).';

create or replace trigger _100_guard_published_body
  before insert or update or delete on learning.content_bodies
  for each row
  execute function learning.guard_published_body();
--! EndIncluded learning/triggers/content_versions.sql
--! Included learning/triggers/content_prerequisites.sql
-- Prerequisites must be possible to fulfil: nothing may wait for itself, through however many others. One change at a time,
-- for the reason given at learning.lock_content_tree.
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

comment on function learning.lock_prerequisites() is 'Trigger: changes of prerequisites happen one after another.';

create or replace trigger _100_lock_prerequisites
  before insert or update on learning.content_prerequisites
  for each statement
  execute function learning.lock_prerequisites();

create or replace trigger _110_lock_prerequisites
  before update of course_id on learning.content_items
  for each statement
  execute function learning.lock_prerequisites();

-- All that must be completed before an item can be: what it requires, what its course requires and, for a course, its parts.
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
  'The item and all that must be completed before it can be, directly or not.';

create or replace function learning.check_prerequisite()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  -- The item, or a part of it: what a course requires, its lessons wait for too.
  if exists (
    select
    from private.content_required_for(new.required_item_id) as r (id)
    join learning.content_items i on i.id = r.id
    where i.id = new.item_id or i.course_id = new.item_id
  ) then
    raise exception 'An item cannot require what waits for it.'
      using errcode = 'PL409', schema = 'learning', table = 'content_prerequisites', column = 'required_item_id';
  end if;
  return null;
end
$$;

comment on function learning.check_prerequisite() is 'Trigger: PL409 when prerequisites would go in a circle.';

create or replace trigger _500_check_prerequisite
  after insert or update on learning.content_prerequisites
  for each row
  execute function learning.check_prerequisite();

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
    raise exception 'The course requires what waits for this item.'
      using errcode = 'PL409', schema = 'learning', table = 'content_items', column = 'course_id';
  end if;
  return null;
end
$$;

comment on function learning.check_moved_lesson() is 'Trigger: PL409 when a move to another course makes prerequisites go in a circle.';

create or replace trigger _510_check_moved_lesson
  after update of course_id on learning.content_items
  for each row
  when (old.course_id is distinct from new.course_id and new.course_id is not null)
  execute function learning.check_moved_lesson();
--! EndIncluded learning/triggers/content_prerequisites.sql
--! Included learning/triggers/content_ratings.sql
-- Totals change with each rating in the same transaction, under the lock of the item's row: exact however many rate at once.
create or replace function learning.count_rating()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'UPDATE' and (new.item_id, new.user_id) <> (old.item_id, old.user_id) then
    raise exception 'A rating stays with its item and user.' using errcode = 'PL409';
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

comment on function learning.count_rating() is 'Trigger: keeps an item''s rating_count and rating_sum.';

create or replace trigger _500_count_rating
  after insert or update or delete on learning.content_ratings
  for each row
  execute function learning.count_rating();
--! EndIncluded learning/triggers/content_ratings.sql
--! Included learning/triggers/updated_at.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on learning.content_categories
  for each row
  execute function plinth.touch_updated_at();

-- Not for ratings: they change the totals and nothing that is said about the item.
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
--! EndIncluded learning/triggers/updated_at.sql
--! Included learning/triggers/audit_trail.sql
-- Who was allowed or denied what is worth knowing later. See security/triggers/audit_trail.sql.
create or replace trigger _700_record_data_change
  after insert or update or delete on learning.user_content_permissions
  for each row
  execute function private.record_data_change('user_id,item_id', 'user_id', 'updated_at', '');
--! EndIncluded learning/triggers/audit_trail.sql
--! Included learning/functions/user_plan_level.sql
-- Who may ask about a user's access: the user, who manages access, and who works in psql or a job without being let in by the
-- API. Everything that answers for a user given as an argument asks this first.
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
    -- The owner, or a function of the owner's that a job runs.
    when pg_has_role(session_user, current_user, 'member') then true
    else access.has_permission('manage_content_access')
  end
$$;

comment on function learning.may_ask_about(uuid) is
  E'@behavior -*\nWhether the caller may be told what a user has access to.';
grant execute on function learning.may_ask_about(uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- The one place that asks billing what a user's plan opens. Definer rights: visitors have no grant on subscriptions. In plpgsql,
-- whose plans stay: it is asked with every page.
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
  E'@behavior -*\nThe access level of the user''s current plan; 0 without one, and for who may not know.';
grant execute on function learning.user_plan_level(uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Definer rights: who asks may not read other people's roles, and has_permission() speaks of the caller only.
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
  E'@behavior -*\nWhether the user holds edit_content; false for who may not know.';
grant execute on function learning.is_content_editor(uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/user_plan_level.sql
--! Included learning/functions/has_completed.sql
-- The one place that asks whether something was completed. Whatever the version: a new version of an item does not close
-- what its completion has opened.
create or replace function learning.has_completed(user_id uuid, item_id uuid)
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
begin
  -- Without the part that records progress, nothing was completed.
  if to_regclass('learning.content_progress') is null then
    return false;
  end if;
  return learning.may_ask_about(user_id)
    and exists (
      select
      from learning.content_progress p
      where p.user_id = has_completed.user_id
        and p.item_id = has_completed.item_id
        and p.completed_at is not null
    );
end
$$;

comment on function learning.has_completed(uuid, uuid) is
  E'@behavior -*\nWhether the user has completed the item in any version; false for who may not know.';
grant execute on function learning.has_completed(uuid, uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/has_completed.sql
--! Included learning/functions/access_reason.sql
-- Whether a prerequisite is out of the way: completed, or not available and so impossible to complete. Definer rights: it is
-- asked for items that who asks may not see.
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
  E'@behavior -*\nWhether the user has completed the item, or nobody can because it is not available.';
grant execute on function learning.is_prerequisite_met(uuid, uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- The rule of access, in one place: the views say it of items, and policies and functions ask the views. First reason that
-- applies wins. A plain expression of its arguments, each of which costs nothing until it is reached: the planner writes it
-- into the query that asks.
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
  E'@behavior -*\nWhy a user has access to an item, or has not.';
grant execute on function learning.access_reason(boolean, boolean, boolean, text, boolean, boolean, integer, integer, boolean, boolean)
  to :PLINTH_ANONYMOUS, :PLINTH_USER;

create or replace function learning.gives_access(reason text)
  returns boolean
  language sql
  immutable
  parallel safe
as $$
  select reason in ('editor', 'author', 'preview', 'permission', 'plan')
$$;

comment on function learning.gives_access(text) is E'@behavior -*\nWhether a reason is one for access: editor, author, preview, permission or plan.';
grant execute on function learning.gives_access(text) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/access_reason.sql
--! Included learning/views/my_content_access.sql
-- What the caller may read. Beside an item it is that item's `access`: a page of items with their access stays one query, which
-- begins with the items of the page, and finds out about the caller once.
create or replace view learning.my_content_access
  with (security_invoker = true)
as
select
  i.id as content_id,
  learning.gives_access(r.reason) as has_access,
  r.reason,
  i.effective_access_level as required_access_level
from learning.content_items i
-- A user's permissions are few. One on the item itself comes before one on its course.
left join learning.user_content_permissions own
  on own.user_id = (select plinth.current_user_id())
  and own.item_id = i.id
  and (own.expires_at is null or own.expires_at > now())
left join learning.user_content_permissions course
  on course.user_id = (select plinth.current_user_id())
  and course.item_id = i.course_id
  and (course.expires_at is null or course.expires_at > now())
-- `offset 0`: found out once an item, and not once for each column that shows it.
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
  E'@name contentAccessDecision\n@behavior -query:resource:list -query:resource:connection -query:resource:single\n@primaryKey content_id\n@foreignKey (content_id) references learning.content_items (id)|@fieldName item|@foreignFieldName access\nGrain: one row per item that the caller, visitors too, can see: whether they may read its text, and why.';
comment on column learning.my_content_access.content_id is 'The item.';
comment on column learning.my_content_access.has_access is 'Whether the caller may read its text.';
comment on column learning.my_content_access.reason is
  'Why: editor, author, preview, permission or plan; why not: not_available, denied, sign_in_required, plan_required or prerequisites_missing.';
comment on column learning.my_content_access.required_access_level is 'The access level that a plan must have.';
revoke all on learning.my_content_access from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.my_content_access to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/views/my_content_access.sql
--! Included learning/views/user_content_access.sql
-- Who may read what. Users see themselves, who manages access everybody, and so does the owner in psql, without claims. Always
-- ask for a user or for items: all users times all items is a large table.
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
-- A user's permissions are few. One on the item itself comes before one on its course.
left join learning.user_content_permissions own
  on own.user_id = u.id
  and own.item_id = i.id
  and (own.expires_at is null or own.expires_at > now())
left join learning.user_content_permissions course
  on course.user_id = u.id
  and course.item_id = i.course_id
  and (course.expires_at is null or course.expires_at > now())
-- `offset 0`: found out once an item, and not once for each column that shows it.
cross join lateral (
  select learning.access_reason(
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
  ) as reason
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
  'Why: editor, author, preview, permission or plan; why not: not_available, denied, sign_in_required, plan_required or prerequisites_missing.';
comment on column learning.user_content_access.required_access_level is 'The access level that a plan must have.';
revoke all on learning.user_content_access from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.user_content_access to :PLINTH_USER;
--! EndIncluded learning/views/user_content_access.sql
--! Included learning/functions/content_access.sql
-- The caller's access to given items, an answer for each: one that cannot be seen and one that does not exist read the same.
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
  'Whether the caller may read the text of each of these items, in their order, why or why not, and what must be completed before.';
grant execute on function learning.content_access(uuid[]) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/content_access.sql
--! Included learning/functions/read_content.sql
-- Opens an item's text, or says what is in the way: a denial one can see, where a policy alone would give nothing.
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
      raise exception 'Access to this content was withdrawn.' using errcode = 'PL403', hint = v_reason;
    when 'sign_in_required' then
      raise exception 'Sign in first.' using errcode = 'PL401', hint = v_reason;
    when 'plan_required' then
      raise exception 'Your plan does not include this content.' using errcode = 'PL403', hint = v_reason;
    when 'prerequisites_missing' then
      raise exception 'Other content must be completed first.' using errcode = 'PL403', hint = v_reason;
    else
      select b.* into v_result
      from learning.content_items i
      join learning.content_bodies b on b.item_id = i.id and b.version = i.current_version
      where i.id = read_content.item_id;
  end case;
  if v_result.item_id is null then
    raise exception 'There is no such content, or it has no text.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function learning.read_content(uuid) is
  'The published text of an item. PL401 or PL403 with the reason as hint (denied, sign_in_required, plan_required, prerequisites_missing), PL404 when there is none.';
grant execute on function learning.read_content(uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/read_content.sql
--! Included learning/functions/publishing.sql
-- From a draft to a published version and back. All of them lock the item's course before the item, as the triggers that carry
-- a course's changes to its lessons do.
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
    raise exception 'This needs the permission edit_content.' using errcode = 'PL403';
  end if;
  perform
  from learning.content_items c
  where c.id = (select i.course_id from learning.content_items i where i.id = lock_content_item.item_id)
  for share;
  select * into v_item from learning.content_items i where i.id = lock_content_item.item_id for no key update;
  if v_item.id is null then
    raise exception 'There is no such content.' using errcode = 'PL404';
  end if;
  return v_item;
end
$$;

comment on function private.lock_content_item(uuid) is 'Locks an item for a change of its state. PL403 without edit_content, PL404 for none.';

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
  'Writes the draft of an item''s next version, in place of an earlier draft. Needs edit_content (PL403); PL404 for an unknown item.';
grant execute on function learning.save_draft(uuid, text, text, text) to :PLINTH_USER;

-- Publishing what is published already changes nothing but the window that is named, so a retry does no harm.
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
    -- A course may consist of its lessons alone.
    if v_item.content_type <> 'course' then
      raise exception 'There is nothing to publish.'
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
  'Withdraws an item, for a course with all its parts. Its versions stay. Needs edit_content (PL403); PL404 for an unknown item.';
grant execute on function learning.unpublish_content(uuid) to :PLINTH_USER;

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
  'Hides an item, for a course with all its parts, and keeps everything. Needs edit_content (PL403); PL404 for an unknown item.';
grant execute on function learning.delete_content(uuid) to :PLINTH_USER;

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
  'Brings a deleted item back as it was. Needs edit_content (PL403); PL404 for an unknown item.';
grant execute on function learning.restore_content(uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/publishing.sql
--! Included learning/functions/move_category.sql
-- A subtree's new place, by name. Invoker rights: the policies of learning.content_categories decide who may.
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
    raise exception 'There is no such category, or you may not move it.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function learning.move_category(uuid, uuid) is
  'Moves a category with all below it under another, or to the top. Needs edit_content (PL404); PL409 for a move below itself.';
grant execute on function learning.move_category(uuid, uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/move_category.sql
--! Included learning/functions/rate_content.sql
-- One rating a user and item: rating again changes it, so a retry does no harm. Invoker rights: the policies decide who may.
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
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  if rate_content.rating not between 1 and 5 then
    raise exception 'A rating is 1 to 5.' using errcode = 'PL422', schema = 'learning', table = 'content_ratings', column = 'rating';
  end if;
  if not (select a.has_access from learning.content_access(array[rate_content.item_id]) a) then
    raise exception 'There is no such content, or you may not read it.' using errcode = 'PL404';
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
  'Rates an item 1 to 5, or changes one''s rating. PL401 for visitors, PL404 for what one may not read, PL422 for another number.';
grant execute on function learning.rate_content(uuid, integer, text) to :PLINTH_USER;
--! EndIncluded learning/functions/rate_content.sql
--! Included learning/policies/content_categories.sql
-- Everybody sees the tree; edit_content changes it. No grant on path and depth: triggers keep them.
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
comment on policy select_all on learning.content_categories is 'Everybody reads the categories.';

drop policy if exists insert_editor on learning.content_categories;
create policy insert_editor on learning.content_categories
  for insert to :PLINTH_USER
  with check ((select access.has_permission('edit_content')));
comment on policy insert_editor on learning.content_categories is 'The permission edit_content adds categories.';

drop policy if exists update_editor on learning.content_categories;
create policy update_editor on learning.content_categories
  for update to :PLINTH_USER
  using ((select access.has_permission('edit_content')))
  with check ((select access.has_permission('edit_content')));
comment on policy update_editor on learning.content_categories is 'The permission edit_content changes and moves categories.';

drop policy if exists delete_editor on learning.content_categories;
create policy delete_editor on learning.content_categories
  for delete to :PLINTH_USER
  using ((select access.has_permission('edit_content')));
comment on policy delete_editor on learning.content_categories is 'The permission edit_content removes empty categories.';
--! EndIncluded learning/policies/content_categories.sql
--! Included learning/policies/content_items.sql
-- What is available is public; its text is not, see content_bodies. No delete and no grant on what functions and triggers keep:
-- publish_content, delete_content and their like change the state.
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
  'Everybody reads what is said about items that are published, within their window and not deleted.';

drop policy if exists select_author on learning.content_items;
create policy select_author on learning.content_items
  for select to :PLINTH_USER
  using (author_id = (select plinth.current_user_id()));
comment on policy select_author on learning.content_items is 'Authors read their items whatever the state.';

drop policy if exists all_editor on learning.content_items;
create policy all_editor on learning.content_items
  for all to :PLINTH_USER
  using ((select access.has_permission('edit_content')))
  with check ((select access.has_permission('edit_content')));
comment on policy all_editor on learning.content_items is 'The permission edit_content reads all items, adds and changes them.';
--! EndIncluded learning/policies/content_items.sql
--! Included learning/policies/content_versions.sql
-- Nobody writes here but save_draft and publish_content.
revoke all on learning.content_versions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.content_versions to :PLINTH_ANONYMOUS, :PLINTH_USER;

drop policy if exists select_published on learning.content_versions;
create policy select_published on learning.content_versions
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (published_at is not null and exists (select from learning.content_items i where i.id = item_id));
comment on policy select_published on learning.content_versions is
  'Who sees an item sees which versions of it were published.';

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
comment on policy select_editor on learning.content_versions is 'The permission edit_content reads all versions.';
--! EndIncluded learning/policies/content_versions.sql
--! Included learning/policies/content_bodies.sql
-- The gate. Nobody writes here but save_draft.
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
  'Who has access to an item reads its published text; see learning.access_reason.';

drop policy if exists select_author on learning.content_bodies;
create policy select_author on learning.content_bodies
  for select to :PLINTH_USER
  using (
    exists (
      select from learning.content_items i where i.id = item_id and i.author_id = (select plinth.current_user_id())
    )
  );
comment on policy select_author on learning.content_bodies is 'Authors read all texts of their items, drafts too.';

drop policy if exists select_editor on learning.content_bodies;
create policy select_editor on learning.content_bodies
  for select to :PLINTH_USER
  using ((select access.has_permission('edit_content')));
comment on policy select_editor on learning.content_bodies is 'The permission edit_content reads all texts.';
--! EndIncluded learning/policies/content_bodies.sql
--! Included learning/policies/content_prerequisites.sql
-- What one item requires is public where both are. edit_content decides.
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
  'Who sees both items sees that one requires the other.';

drop policy if exists insert_editor on learning.content_prerequisites;
create policy insert_editor on learning.content_prerequisites
  for insert to :PLINTH_USER
  with check ((select access.has_permission('edit_content')));
comment on policy insert_editor on learning.content_prerequisites is 'The permission edit_content adds prerequisites.';

drop policy if exists delete_editor on learning.content_prerequisites;
create policy delete_editor on learning.content_prerequisites
  for delete to :PLINTH_USER
  using ((select access.has_permission('edit_content')));
comment on policy delete_editor on learning.content_prerequisites is 'The permission edit_content removes prerequisites.';
--! EndIncluded learning/policies/content_prerequisites.sql
--! Included learning/policies/content_ratings.sql
-- Users keep one rating each of what they may read; the totals on the item are public. edit_content removes abuse.
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
comment on policy insert_own on learning.content_ratings is 'Users rate what they may read.';

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
comment on policy delete_own on learning.content_ratings is 'Users take their own ratings back.';

drop policy if exists select_editor on learning.content_ratings;
create policy select_editor on learning.content_ratings
  for select to :PLINTH_USER
  using ((select access.has_permission('edit_content')));
comment on policy select_editor on learning.content_ratings is 'The permission edit_content reads all ratings.';

drop policy if exists delete_editor on learning.content_ratings;
create policy delete_editor on learning.content_ratings
  for delete to :PLINTH_USER
  using ((select access.has_permission('edit_content')));
comment on policy delete_editor on learning.content_ratings is 'The permission edit_content removes ratings.';
--! EndIncluded learning/policies/content_ratings.sql
--! Included learning/policies/user_content_permissions.sql
-- Users see what was decided about them; manage_content_access decides. Visitors need the grant, which shows them nothing, for
-- the views that look up a user's permissions.
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
comment on policy select_own on learning.user_content_permissions is 'Users read what was allowed and denied to them.';

drop policy if exists all_manager on learning.user_content_permissions;
create policy all_manager on learning.user_content_permissions
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_content_access')))
  with check ((select access.has_permission('manage_content_access')));
comment on policy all_manager on learning.user_content_permissions is
  'The permission manage_content_access reads, gives and takes all.';
--! EndIncluded learning/policies/user_content_permissions.sql
--! Included private/functions/escape_html.sql
-- Text for a page, so that nothing in it is markup.
create or replace function private.escape_html(plain text)
  returns text
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select replace(replace(replace(replace(replace(plain, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;')
$$;

comment on function private.escape_html(text) is 'The text with the five characters that mean something in HTML escaped.';
--! EndIncluded private/functions/escape_html.sql
--! Included private/functions/content_matching.sql
-- What a search asks for: the languages it looks in, the words in each of them, and all of these as one query for the index.
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
  -- From one language to the next by the index, not through all items.
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
  select coalesce(array_agg(websearch_to_tsquery(learning.search_configuration(l.language), query) order by l.place), '{}')
  into queries
  from unnest(languages) with ordinality as l (language, place);
  foreach v_query in array array(select distinct q from unnest(queries) as q) loop
    any_query := coalesce(any_query || v_query, v_query);
  end loop;
end
$$;

comment on function private.content_search_terms(text, text) is
  'The languages in use that are searched (all, or one with its regional variants), the words as each reads them, and any of these.';

-- The items that a search finds: one set for hits and facets. No settings of its own, so that the planner takes it into the
-- query that asks and sees the index. A null argument asks for nothing.
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
    -- Of several languages only the item's own counts: "-die" leaves out a German article, not an English verb.
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
  'Available items that match words, or whose title is similar to a text, and all filters.';

-- The category and all below it.
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

comment on function private.content_subtree(uuid) is 'Ids of a category and of all below it; null for none.';

-- How much of what is typed must be found in a title: what one wrong letter leaves of a short word. A setting of the operator,
-- which exists once its library is loaded, so it cannot stand among the settings of a function that a restore makes anew.
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

comment on function private.look_for_similar_titles() is 'Sets the similarity that search asks for, until the end of the transaction.';
--! EndIncluded private/functions/content_matching.sql
--! Included learning/functions/search_content.sql
-- Search with the owner's rights and the public rule written out, because row security would keep the index from being used:
-- the planner may not let an operator see a row before the policy has.
-- Plans are made for the filters that are given.
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
  v_limit constant integer := least(greatest(coalesce(max_results, 20), 0), 100);
  v_skip constant integer := greatest(coalesce(skip, 0), 0);
begin
  select * into v_terms from private.content_search_terms(v_text, language);

  if v_text = '' then
    -- Nothing asked for: what is newest.
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
      -- Marks are set for the page alone, in escaped text: what is marked up is ours.
      select
        i,
        h.rank,
        ts_headline(
          learning.search_configuration(i.language), private.escape_html(i.title),
          v_terms.queries[array_position(v_terms.languages, i.language)],
          'StartSel=<mark>, StopSel=</mark>, HighlightAll=true'
        ),
        ts_headline(
          learning.search_configuration(i.language), private.escape_html(i.summary),
          v_terms.queries[array_position(v_terms.languages, i.language)],
          'StartSel=<mark>, StopSel=</mark>, MaxWords=40, MinWords=20'
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

  -- No item has these words: the titles that look most like them, with the words that do marked.
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
  E'Searches available content by title, tags and summary, best first; without a query, newest first.\nquery: words, "a phrase", or, -not. language: only that language and its regional variants; otherwise each item is searched in its own. categoryId: with all below. tags: all of them. maxResults: up to 100.\ntitleHtml and summaryHtml are escaped, with <mark> around what was found. isSimilar: no item has the words, these titles look like them.';
grant execute on function learning.search_content(text, text, text[], uuid, text[], integer, integer, integer, integer)
  to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- How many hits a further filter would leave. It counts all hits, which costs more than the first page of them.
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
  E'How many items of a search (the same arguments) there are by content_type, level, language, category and tag (the 30 most frequent), most first.';
grant execute on function learning.content_search_facets(text, text, text[], uuid, text[], integer, integer)
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/search_content.sql
--! Included private/functions/export_content.sql
-- An item as a line of a file, the same that import_content reads. Of its texts the published one, or the draft of what was
-- never published.
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
    -- In UTC whatever the session's time zone, so that two exports can be compared.
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

comment on function private.export_content_item(uuid) is 'An item as an object of the import format.';
--! EndIncluded private/functions/export_content.sql
--! Included private/functions/import_content.sql
-- One line of a content file. A category is known by its path, an item by its slug; what a line names must be there already.
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
      raise exception 'there is no category %, which must come before', v_parent using errcode = 'PL404';
    end if;
  end if;
  insert into learning.content_categories as c (parent_id, slug, name, description, position)
  values (
    v_parent_id, v_slug, btrim(line ->> 'name'), coalesce(line ->> 'description', ''), coalesce((line ->> 'position')::integer, 0)
  )
  on conflict on constraint content_categories_path_key do update
  set name = excluded.name, description = excluded.description, position = excluded.position
  where (c.name, c.description, c.position) is distinct from (excluded.name, excluded.description, excluded.position)
  -- xmax is 0 in a row that this statement made, and not in one that it changed.
  returning c.xmax = 0 into v_inserted;
  return case when v_inserted is null then 'unchanged' when v_inserted then 'inserted' else 'updated' end;
end
$$;

comment on function private.import_content_category(jsonb) is 'Imports a category; inserted, updated or unchanged. PL404 without its parent.';

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
  -- The course first, as everywhere; see learning/functions/publishing.sql.
  if line ->> 'course' is not null then
    select i.id into v_course_id from learning.content_items i where i.slug = line ->> 'course' for share;
    if v_course_id is null then
      raise exception 'there is no course %, which must come before', line ->> 'course' using errcode = 'PL404';
    end if;
  end if;
  select i.id, i.deleted_at into v_id, v_deleted_at
  from learning.content_items i
  where i.slug = line ->> 'slug'
  for no key update;
  if v_deleted_at is not null then
    raise exception 'was deleted here; restore it first' using errcode = 'PL409';
  end if;
  v_before := private.export_content_item(v_id);
  -- All keys, in the form of an export. A time that the file leaves open stays as it is.
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
    raise exception 'there is no category %, which must come before', v_wanted ->> 'category' using errcode = 'PL404';
  end if;
  select r.slug into v_missing
  from jsonb_array_elements_text(v_wanted -> 'prerequisites') as r (slug)
  where not exists (select from learning.content_items i where i.slug = r.slug and i.deleted_at is null)
  limit 1;
  if v_missing is not null then
    raise exception 'there is no item %, which must come before', v_missing using errcode = 'PL404';
  end if;
  if v_published and v_wanted ->> 'body' is null and v_wanted ->> 'type' <> 'course' then
    raise exception 'only a course is published without a body' using errcode = 'PL422';
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

  -- A new version only for a new text.
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
  'Imports and publishes an item; inserted, updated or unchanged. PL404 for what it names and is not there, PL409 for a deleted item, PL422 without a text.';

-- Imports lines of a content file in their order, each or not at all. Repeating it changes nothing. A rejected line is reported
-- and leaves no trace; whether the others stay is the caller's decision (rollback).
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
  'Imports an array of categories and items; one answer a line: inserted, updated, unchanged or rejected with the reason.';
--! EndIncluded private/functions/import_content.sql
