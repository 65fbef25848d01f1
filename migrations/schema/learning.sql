-- Schema learning as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema learning;
comment on schema learning is 'Skills, content, who may see it, and how far people are.';
grant usage on schema learning to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Tables ----------------------------------------------------------------------------------------------

-- One row per version that has a text. Read by who has access to the item.
create table learning.content_bodies (
  item_id uuid not null,
  version integer not null,
  body_format text not null default 'markdown'::text,
  body text not null,
  constraint content_bodies_pkey primary key (item_id, version),
  constraint content_bodies_body_check check (length(body) >= 1 and octet_length(body) <= 4000000),
  constraint content_bodies_body_format_check check (body_format = any (array['markdown'::text, 'html'::text, 'text'::text, 'json'::text, 'url'::text])),
  constraint content_bodies_item_id_version_fkey foreign key (item_id, version) references learning.content_versions(item_id, version) on delete cascade
);

alter table learning.content_bodies enable row level security;

create trigger _100_guard_published_body
  before insert or delete or update on learning.content_bodies
  for each row
  execute function learning.guard_published_body();

comment on table learning.content_bodies is 'One row per version that has a text. Read by who has access to the item.';
comment on column learning.content_bodies.item_id is 'The item.';
comment on column learning.content_bodies.version is 'The version.';
comment on column learning.content_bodies.body_format is 'markdown, html, text, json, or url where the text lies elsewhere.';
comment on column learning.content_bodies.body is 'The text, up to 4,000,000 bytes.';
comment on constraint content_bodies_item_id_version_fkey on learning.content_bodies is E'@fieldName contentVersion\n@foreignFieldName contentBody';

create policy select_accessible on learning.content_bodies
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using ((exists ( select
   from learning.content_items i
     join learning.my_content_access a on a.content_id = i.id
  where i.id = content_bodies.item_id and i.current_version = content_bodies.version and a.has_access)));
comment on policy select_accessible on learning.content_bodies is 'Who has access to an item reads its published text; see learning.access_reason.';
create policy select_author on learning.content_bodies
  for select to :PLINTH_USER
  using ((exists ( select
   from learning.content_items i
  where i.id = content_bodies.item_id and i.author_id = (select plinth.current_user_id()))));
comment on policy select_author on learning.content_bodies is 'Authors read all texts of their items, drafts too.';
create policy select_editor on learning.content_bodies
  for select to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)));
comment on policy select_editor on learning.content_bodies is 'The permission edit_content reads all texts.';

grant select on learning.content_bodies to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- One row per category; categories form a tree.
create table learning.content_categories (
  id uuid not null default plinth.uuid_v7(),
  parent_id uuid,
  slug text not null,
  name text not null,
  description text not null default ''::text,
  "position" integer not null default 0,
  path text not null,
  depth integer not null,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint content_categories_pkey primary key (id),
  constraint content_categories_parent_id_slug_key unique nulls not distinct (parent_id, slug),
  constraint content_categories_path_key unique (path),
  constraint content_categories_depth_is_at_most_ten check (depth >= 1 and depth <= 10),
  constraint content_categories_description_check check (length(description) <= 2000),
  constraint content_categories_is_not_its_own_parent check (parent_id <> id),
  constraint content_categories_name_check check (length(name) >= 1 and length(name) <= 200 and name = trim(both from name)),
  constraint content_categories_slug_check check (slug ~ '^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$'::text),
  constraint content_categories_parent_id_fkey foreign key (parent_id) references learning.content_categories(id) on delete restrict
);

alter table learning.content_categories enable row level security;

create index content_categories_path_prefix_idx on learning.content_categories using btree (path text_pattern_ops);

create trigger _100_lock_content_tree
  before insert or update of parent_id, slug, path on learning.content_categories
  for each statement
  execute function learning.lock_content_tree();
create trigger _200_place_category
  before insert or update of parent_id, slug, path, depth on learning.content_categories
  for each row
  execute function learning.place_category();
create trigger _500_move_subcategories
  after update of parent_id, slug, path, depth on learning.content_categories
  for each row
  when (old.path is distinct from new.path)
  execute function learning.move_subcategories();
create trigger _900_touch_updated_at
  before update on learning.content_categories
  for each row
  execute function plinth.touch_updated_at();

comment on table learning.content_categories is 'One row per category; categories form a tree.';
comment on column learning.content_categories.id is 'UUIDv7.';
comment on column learning.content_categories.parent_id is 'The category it is in; null at the top. Change it to move the subtree.';
comment on column learning.content_categories.slug is 'Name in addresses, unique among siblings: lower case letters, digits and hyphens, at most 60.';
comment on column learning.content_categories.name is 'Name shown to people.';
comment on column learning.content_categories.description is 'What belongs here.';
comment on column learning.content_categories."position" is 'Order among siblings.';
comment on column learning.content_categories.path is 'Slugs from the top, joined by slashes; kept by the database.';
comment on column learning.content_categories.depth is '1 at the top, at most 10; kept by the database.';
comment on column learning.content_categories.created_at is 'When it was made.';
comment on column learning.content_categories.updated_at is 'When the row last changed.';
comment on constraint content_categories_parent_id_fkey on learning.content_categories is E'@fieldName parent\n@foreignFieldName children';

create policy delete_editor on learning.content_categories
  for delete to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)));
comment on policy delete_editor on learning.content_categories is 'The permission edit_content removes empty categories.';
create policy insert_editor on learning.content_categories
  for insert to :PLINTH_USER
  with check ((select access.has_permission('edit_content'::text)));
comment on policy insert_editor on learning.content_categories is 'The permission edit_content adds categories.';
create policy select_all on learning.content_categories
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (true);
comment on policy select_all on learning.content_categories is 'Everybody reads the categories.';
create policy update_editor on learning.content_categories
  for update to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)))
  with check ((select access.has_permission('edit_content'::text)));
comment on policy update_editor on learning.content_categories is 'The permission edit_content changes and moves categories.';

grant
  select,
  insert (parent_id, slug, name, description, "position"),
  update (parent_id, slug, name, description, "position"),
  delete
  on learning.content_categories to :PLINTH_USER;
grant select on learning.content_categories to :PLINTH_ANONYMOUS;

-- One row per piece of content: what may be public about it. The text is in content_bodies.
create table learning.content_items (
  id uuid not null default plinth.uuid_v7(),
  category_id uuid not null,
  course_id uuid,
  "position" integer not null default 0,
  slug text not null,
  content_type text not null,
  title text not null,
  summary text not null default ''::text,
  level smallint not null default 0,
  duration_seconds integer,
  language text not null default 'en'::text,
  tags text[] not null default '{}'::text[],
  author_id uuid default plinth.current_user_id(),
  required_access_level integer,
  is_preview boolean not null default false,
  current_version integer,
  publish_from timestamp with time zone,
  publish_until timestamp with time zone,
  deleted_at timestamp with time zone,
  effective_access_level integer not null default 0,
  available_from timestamp with time zone,
  available_until timestamp with time zone,
  rating_count integer not null default 0,
  rating_sum bigint not null default 0,
  rating_average numeric(3,2) generated always as (round(rating_sum::numeric / nullif(rating_count, 0)::numeric, 2)) stored,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  search_document tsvector not null generated always as (learning.search_document(language, title, summary, tags)) stored,
  constraint content_items_pkey primary key (id),
  constraint content_items_slug_key unique (slug),
  constraint content_items_content_type_check check (content_type = any (array['course'::text, 'lesson'::text, 'article'::text, 'video'::text, 'exercise'::text, 'quiz'::text, 'project'::text])),
  constraint content_items_course_is_not_in_a_course check (course_id is null or content_type <> 'course'::text),
  constraint content_items_duration_seconds_is_positive check (duration_seconds > 0),
  constraint content_items_language_check check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$'::text),
  constraint content_items_level_check check (level >= 0 and level <= 10),
  constraint content_items_published_has_a_start check (current_version is null or publish_from is not null),
  constraint content_items_rating_totals_agree check (rating_sum >= rating_count and rating_sum <= (5 * rating_count::bigint)),
  constraint content_items_required_access_level_check check (required_access_level >= 0 and required_access_level <= 1000000),
  constraint content_items_slug_check check (slug ~ '^[a-z0-9]([a-z0-9-]{0,118}[a-z0-9])?$'::text),
  constraint content_items_summary_check check (length(summary) <= 5000),
  constraint content_items_tags_check check (cardinality(tags) <= 30 and array_position(tags, null::text) is null),
  constraint content_items_title_check check (length(title) >= 1 and length(title) <= 300 and title = trim(both from title)),
  constraint content_items_window_ends_after_its_start check (publish_until > publish_from),
  constraint content_items_author_id_fkey foreign key (author_id) references identity.users(id) on delete set null,
  constraint content_items_category_id_fkey foreign key (category_id) references learning.content_categories(id) on delete restrict,
  constraint content_items_course_id_fkey foreign key (course_id) references learning.content_items(id) on delete cascade,
  constraint content_items_current_version_fkey foreign key (id, current_version) references learning.content_versions(item_id, version) on delete restrict
);

alter table learning.content_items enable row level security;

create index content_items_author_id_idx on learning.content_items using btree (author_id);
create index content_items_available_from_idx on learning.content_items using btree (available_from desc, id);
create index content_items_category_id_available_from_idx on learning.content_items using btree (category_id, available_from desc);
create index content_items_content_type_idx on learning.content_items using btree (content_type);
create index content_items_course_id_position_idx on learning.content_items using btree (course_id, "position");
create index content_items_id_current_version_idx on learning.content_items using btree (id, current_version);
create index content_items_language_idx on learning.content_items using btree (language);
create index content_items_level_idx on learning.content_items using btree (level);
create index content_items_search_document_idx on learning.content_items using gin (search_document);
create index content_items_tags_idx on learning.content_items using gin (tags);
create index content_items_title_trigram_idx on learning.content_items using gin (title plinth.gin_trgm_ops);

create trigger _110_lock_prerequisites
  before update of course_id on learning.content_items
  for each statement
  execute function learning.lock_prerequisites();
create trigger _200_settle_content_item
  before insert or update of course_id, content_type, tags, required_access_level, current_version, publish_from, publish_until, deleted_at, effective_access_level, available_from, available_until on learning.content_items
  for each row
  execute function learning.settle_content_item();
create trigger _500_settle_lessons
  after update on learning.content_items
  for each row
  when (new.content_type = 'course'::text and (old.available_from is distinct from new.available_from or old.available_until is distinct from new.available_until or old.effective_access_level is distinct from new.effective_access_level))
  execute function learning.settle_lessons();
create trigger _510_check_moved_lesson
  after update of course_id on learning.content_items
  for each row
  when (old.course_id is distinct from new.course_id and new.course_id is not null)
  execute function learning.check_moved_lesson();
create trigger _900_touch_updated_at
  before update of category_id, course_id, "position", slug, content_type, title, summary, level, duration_seconds, language, tags, author_id, required_access_level, is_preview, current_version, publish_from, publish_until, deleted_at on learning.content_items
  for each row
  execute function plinth.touch_updated_at('search_document', 'rating_average');

comment on table learning.content_items is 'One row per piece of content: what may be public about it. The text is in content_bodies.';
comment on column learning.content_items.id is 'UUIDv7.';
comment on column learning.content_items.category_id is 'Where it is filed.';
comment on column learning.content_items.course_id is 'The course it is a part of, or null.';
comment on column learning.content_items."position" is 'Order within the course.';
comment on column learning.content_items.slug is 'Unique name in addresses and in imports: lower case letters, digits and hyphens, at most 120.';
comment on column learning.content_items.content_type is 'course, lesson, article, video, exercise, quiz or project.';
comment on column learning.content_items.title is 'Title, 1 to 300 characters.';
comment on column learning.content_items.summary is 'What it is about, for everybody; up to 5000 characters.';
comment on column learning.content_items.level is 'How much must be known before, 0 to 10, on the scale of skill levels.';
comment on column learning.content_items.duration_seconds is 'How long it takes, in seconds; null when unknown.';
comment on column learning.content_items.language is 'Language tag (BCP 47), such as en or pt-BR. Search follows it.';
comment on column learning.content_items.tags is 'Up to 30 words to find it by; kept in lower case, sorted, each once.';
comment on column learning.content_items.author_id is 'Who wrote it; sees it before it is published. Null for an import or a deleted account.';
comment on column learning.content_items.required_access_level is 'Plans of this access level and above include it; null means what its course says, or 0.';
comment on column learning.content_items.is_preview is 'Whether everybody may read it, visitors too, whatever the plan.';
comment on column learning.content_items.current_version is 'The published version; null while it is a draft or withdrawn.';
comment on column learning.content_items.publish_from is 'When it appears.';
comment on column learning.content_items.publish_until is 'When it disappears; null for never.';
comment on column learning.content_items.deleted_at is 'When it was deleted; restore_content brings it back. Null otherwise.';
comment on column learning.content_items.effective_access_level is 'The access level that counts: its own, or its course''s. Kept by the database.';
comment on column learning.content_items.available_from is 'When it and its course have both appeared; null while one of them is unpublished or deleted. Kept by the database.';
comment on column learning.content_items.available_until is 'When it or its course disappears; null for never. Kept by the database.';
comment on column learning.content_items.rating_count is 'How many users rated it.';
comment on column learning.content_items.rating_sum is 'Sum of their ratings.';
comment on column learning.content_items.rating_average is 'Average rating, 1.00 to 5.00; null without ratings.';
comment on column learning.content_items.created_at is 'When it was added.';
comment on column learning.content_items.updated_at is 'When what is said about it last changed.';
comment on column learning.content_items.search_document is E'@omit\nWhat search finds it by: title, tags and summary, stemmed in its language.';
comment on constraint content_items_category_id_fkey on learning.content_items is E'@fieldName category\n@foreignFieldName items';
comment on constraint content_items_course_id_fkey on learning.content_items is E'@fieldName course\n@foreignFieldName parts';
comment on constraint content_items_current_version_fkey on learning.content_items is E'@fieldName publishedVersion\n@foreignFieldName publishedItem';

create policy all_editor on learning.content_items
  for all to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)))
  with check ((select access.has_permission('edit_content'::text)));
comment on policy all_editor on learning.content_items is 'The permission edit_content reads all items, adds and changes them.';
create policy select_author on learning.content_items
  for select to :PLINTH_USER
  using (author_id = (select plinth.current_user_id()));
comment on policy select_author on learning.content_items is 'Authors read their items whatever the state.';
create policy select_available on learning.content_items
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (available_from <= now() and (available_until is null or available_until > now()));
comment on policy select_available on learning.content_items is 'Everybody reads what is said about items that are published, within their window and not deleted.';

grant
  select,
  insert (category_id, course_id, "position", slug, content_type, title, summary, level, duration_seconds, language, tags, required_access_level, is_preview),
  update (category_id, course_id, "position", slug, content_type, title, summary, level, duration_seconds, language, tags, required_access_level, is_preview, publish_until)
  on learning.content_items to :PLINTH_USER;
grant select on learning.content_items to :PLINTH_ANONYMOUS;

-- One row per item that must be completed before another opens.
create table learning.content_prerequisites (
  item_id uuid not null,
  required_item_id uuid not null,
  created_at timestamp with time zone not null default now(),
  constraint content_prerequisites_pkey primary key (item_id, required_item_id),
  constraint content_prerequisites_is_not_its_own check (item_id <> required_item_id),
  constraint content_prerequisites_item_id_fkey foreign key (item_id) references learning.content_items(id) on delete cascade,
  constraint content_prerequisites_required_item_id_fkey foreign key (required_item_id) references learning.content_items(id) on delete cascade
);

alter table learning.content_prerequisites enable row level security;

create index content_prerequisites_required_item_id_idx on learning.content_prerequisites using btree (required_item_id);

create trigger _100_lock_prerequisites
  before insert or update on learning.content_prerequisites
  for each statement
  execute function learning.lock_prerequisites();
create trigger _500_check_prerequisite
  after insert or update on learning.content_prerequisites
  for each row
  execute function learning.check_prerequisite();

comment on table learning.content_prerequisites is 'One row per item that must be completed before another opens.';
comment on column learning.content_prerequisites.item_id is 'What opens; for a course, each of its lessons too.';
comment on column learning.content_prerequisites.required_item_id is 'What must be completed before. It counts while it is available.';
comment on column learning.content_prerequisites.created_at is 'Since when.';
comment on constraint content_prerequisites_item_id_fkey on learning.content_prerequisites is E'@fieldName item\n@foreignFieldName prerequisites';
comment on constraint content_prerequisites_required_item_id_fkey on learning.content_prerequisites is E'@fieldName requiredItem\n@foreignFieldName requiredBy';

create policy delete_editor on learning.content_prerequisites
  for delete to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)));
comment on policy delete_editor on learning.content_prerequisites is 'The permission edit_content removes prerequisites.';
create policy insert_editor on learning.content_prerequisites
  for insert to :PLINTH_USER
  with check ((select access.has_permission('edit_content'::text)));
comment on policy insert_editor on learning.content_prerequisites is 'The permission edit_content adds prerequisites.';
create policy select_visible on learning.content_prerequisites
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using ((exists ( select
   from learning.content_items i
  where i.id = content_prerequisites.item_id)) and (exists ( select
   from learning.content_items i
  where i.id = content_prerequisites.required_item_id)));
comment on policy select_visible on learning.content_prerequisites is 'Who sees both items sees that one requires the other.';

grant select on learning.content_prerequisites to :PLINTH_ANONYMOUS;
grant select, insert (item_id, required_item_id), delete on learning.content_prerequisites to :PLINTH_USER;

-- One row per user and item they rated. Totals are on the item.
create table learning.content_ratings (
  item_id uuid not null,
  user_id uuid not null default plinth.current_user_id(),
  rating smallint not null,
  review text not null default ''::text,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint content_ratings_pkey primary key (item_id, user_id),
  constraint content_ratings_rating_check check (rating >= 1 and rating <= 5),
  constraint content_ratings_review_check check (length(review) <= 5000),
  constraint content_ratings_item_id_fkey foreign key (item_id) references learning.content_items(id) on delete cascade,
  constraint content_ratings_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table learning.content_ratings enable row level security;

create index content_ratings_user_id_idx on learning.content_ratings using btree (user_id);

create trigger _500_count_rating
  after insert or delete or update on learning.content_ratings
  for each row
  execute function learning.count_rating();
create trigger _900_touch_updated_at
  before update on learning.content_ratings
  for each row
  execute function plinth.touch_updated_at();

comment on table learning.content_ratings is 'One row per user and item they rated. Totals are on the item.';
comment on column learning.content_ratings.item_id is 'What was rated.';
comment on column learning.content_ratings.user_id is 'Who rated it.';
comment on column learning.content_ratings.rating is '1 to 5.';
comment on column learning.content_ratings.review is 'What they say of it, or empty.';
comment on column learning.content_ratings.created_at is 'When it was first rated.';
comment on column learning.content_ratings.updated_at is 'When the rating last changed.';
comment on constraint content_ratings_item_id_fkey on learning.content_ratings is E'@fieldName item\n@foreignFieldName ratings';

create policy delete_editor on learning.content_ratings
  for delete to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)));
comment on policy delete_editor on learning.content_ratings is 'The permission edit_content removes ratings.';
create policy delete_own on learning.content_ratings
  for delete to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy delete_own on learning.content_ratings is 'Users take their own ratings back.';
create policy insert_own on learning.content_ratings
  for insert to :PLINTH_USER
  with check (user_id = (select plinth.current_user_id()) and (exists ( select
   from learning.my_content_access a
  where a.content_id = content_ratings.item_id and a.has_access)));
comment on policy insert_own on learning.content_ratings is 'Users rate what they may read.';
create policy select_editor on learning.content_ratings
  for select to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)));
comment on policy select_editor on learning.content_ratings is 'The permission edit_content reads all ratings.';
create policy select_own on learning.content_ratings
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.content_ratings is 'Users read their own ratings.';
create policy update_own on learning.content_ratings
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on learning.content_ratings is 'Users change their own ratings.';

grant
  select,
  insert (item_id, rating, review),
  update (rating, review),
  delete
  on learning.content_ratings to :PLINTH_USER;

-- One row per version of an item. Published ones never change.
create table learning.content_versions (
  item_id uuid not null,
  version integer not null,
  change_note text not null default ''::text,
  created_by uuid default plinth.current_user_id(),
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  published_at timestamp with time zone,
  constraint content_versions_pkey primary key (item_id, version),
  constraint content_versions_change_note_check check (length(change_note) <= 2000),
  constraint content_versions_version_is_positive check (version > 0),
  constraint content_versions_created_by_fkey foreign key (created_by) references identity.users(id) on delete set null,
  constraint content_versions_item_id_fkey foreign key (item_id) references learning.content_items(id) on delete cascade
);

alter table learning.content_versions enable row level security;

create index content_versions_created_by_idx on learning.content_versions using btree (created_by);
create unique index content_versions_draft_idx on learning.content_versions using btree (item_id) where (published_at is null);

create trigger _100_guard_published_version
  before delete or update on learning.content_versions
  for each row
  execute function learning.guard_published_version();
create trigger _900_touch_updated_at
  before update on learning.content_versions
  for each row
  execute function plinth.touch_updated_at();

comment on table learning.content_versions is 'One row per version of an item. Published ones never change.';
comment on column learning.content_versions.item_id is 'The item.';
comment on column learning.content_versions.version is 'Counts the item''s versions from 1.';
comment on column learning.content_versions.change_note is 'What is new in it.';
comment on column learning.content_versions.created_by is 'Who wrote it; null for an import or a deleted account.';
comment on column learning.content_versions.created_at is 'When it was begun.';
comment on column learning.content_versions.updated_at is 'When the draft last changed.';
comment on column learning.content_versions.published_at is 'When it was published; null for the draft.';
comment on constraint content_versions_item_id_fkey on learning.content_versions is E'@fieldName item\n@foreignFieldName versions';

create policy select_author on learning.content_versions
  for select to :PLINTH_USER
  using ((exists ( select
   from learning.content_items i
  where i.id = content_versions.item_id and i.author_id = (select plinth.current_user_id()))));
comment on policy select_author on learning.content_versions is 'Authors read all versions of their items.';
create policy select_editor on learning.content_versions
  for select to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)));
comment on policy select_editor on learning.content_versions is 'The permission edit_content reads all versions.';
create policy select_published on learning.content_versions
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (published_at is not null and (exists ( select
   from learning.content_items i
  where i.id = content_versions.item_id)));
comment on policy select_published on learning.content_versions is 'Who sees an item sees which versions of it were published.';

grant select on learning.content_versions to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- One row per user and item that was allowed or denied to them, whatever their plan. On a course it counts for its lessons that have none of their own.
create table learning.user_content_permissions (
  user_id uuid not null,
  item_id uuid not null,
  permission text not null,
  waives_prerequisites boolean not null default false,
  reason text not null default ''::text,
  granted_by uuid default plinth.current_user_id(),
  granted_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone,
  updated_at timestamp with time zone not null default now(),
  constraint user_content_permissions_pkey primary key (user_id, item_id),
  constraint user_content_permissions_expires_after_granted check (expires_at > granted_at),
  constraint user_content_permissions_only_allow_waives check (permission = 'allow'::text or not waives_prerequisites),
  constraint user_content_permissions_permission_check check (permission = any (array['allow'::text, 'deny'::text])),
  constraint user_content_permissions_reason_check check (length(reason) <= 1000),
  constraint user_content_permissions_granted_by_fkey foreign key (granted_by) references identity.users(id) on delete set null,
  constraint user_content_permissions_item_id_fkey foreign key (item_id) references learning.content_items(id) on delete cascade,
  constraint user_content_permissions_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table learning.user_content_permissions enable row level security;

create index user_content_permissions_granted_by_idx on learning.user_content_permissions using btree (granted_by);
create index user_content_permissions_item_id_idx on learning.user_content_permissions using btree (item_id);

create trigger _700_record_data_change
  after insert or delete or update on learning.user_content_permissions
  for each row
  execute function private.record_data_change('user_id,item_id', 'user_id', 'updated_at', '');
create trigger _900_touch_updated_at
  before update on learning.user_content_permissions
  for each row
  execute function plinth.touch_updated_at();

comment on table learning.user_content_permissions is 'One row per user and item that was allowed or denied to them, whatever their plan. On a course it counts for its lessons that have none of their own.';
comment on column learning.user_content_permissions.user_id is 'Whose access.';
comment on column learning.user_content_permissions.item_id is 'To what.';
comment on column learning.user_content_permissions.permission is 'allow (in place of a plan) or deny (whatever the plan).';
comment on column learning.user_content_permissions.waives_prerequisites is 'Whether an allow also lets past what must be completed before.';
comment on column learning.user_content_permissions.reason is 'Why, for whoever asks later.';
comment on column learning.user_content_permissions.granted_by is 'Who decided; null for the system or a deleted account.';
comment on column learning.user_content_permissions.granted_at is 'When.';
comment on column learning.user_content_permissions.expires_at is 'From then on it no longer counts; null means it does not expire.';
comment on column learning.user_content_permissions.updated_at is 'When the row last changed.';
comment on constraint user_content_permissions_item_id_fkey on learning.user_content_permissions is E'@fieldName item\n@foreignFieldName userPermissions';

create policy all_manager on learning.user_content_permissions
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_content_access'::text)))
  with check ((select access.has_permission('manage_content_access'::text)));
comment on policy all_manager on learning.user_content_permissions is 'The permission manage_content_access reads, gives and takes all.';
create policy select_own on learning.user_content_permissions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.user_content_permissions is 'Users read what was allowed and denied to them.';

grant
  select,
  insert (user_id, item_id, permission, waives_prerequisites, reason, expires_at),
  update (permission, waives_prerequisites, reason, expires_at),
  delete
  on learning.user_content_permissions to :PLINTH_USER;
grant select on learning.user_content_permissions to :PLINTH_ANONYMOUS;

-- Views -----------------------------------------------------------------------------------------------

-- Grain: one row per item that the caller, visitors too, can see: whether they may read its text, and why.
create view learning.my_content_access with (security_invoker=true) as
 select i.id as content_id,
    learning.gives_access(r.reason) as has_access,
    r.reason,
    i.effective_access_level as required_access_level
   from learning.content_items i
     left join learning.user_content_permissions own on own.user_id = (( select plinth.current_user_id() as current_user_id)) and own.item_id = i.id and (own.expires_at is null or own.expires_at > now())
     left join learning.user_content_permissions course on course.user_id = (( select plinth.current_user_id() as current_user_id)) and course.item_id = i.course_id and (course.expires_at is null or course.expires_at > now())
     cross join lateral ( select learning.access_reason(( select access.has_permission('edit_content'::text) as has_permission), i.author_id = (( select plinth.current_user_id() as current_user_id)), i.available_from <= now() and (i.available_until is null or i.available_until > now()), coalesce(own.permission, course.permission), i.is_preview, (( select plinth.current_user_id() as current_user_id)) is not null, i.effective_access_level, ( select learning.user_plan_level(plinth.current_user_id()) as user_plan_level), coalesce(own.waives_prerequisites, course.waives_prerequisites), (exists ( select
                   from learning.content_prerequisites p
                  where (p.item_id = any (array[i.id, i.course_id])) and not learning.is_prerequisite_met(( select plinth.current_user_id() as current_user_id), p.required_item_id)))) as reason
         offset 0) r;

comment on view learning.my_content_access is E'@name contentAccessDecision\n@behavior -query:resource:list -query:resource:connection -query:resource:single\n@primaryKey content_id\n@foreignKey (content_id) references learning.content_items (id)|@fieldName item|@foreignFieldName access\nGrain: one row per item that the caller, visitors too, can see: whether they may read its text, and why.';
comment on column learning.my_content_access.content_id is 'The item.';
comment on column learning.my_content_access.has_access is 'Whether the caller may read its text.';
comment on column learning.my_content_access.reason is 'Why: editor, author, preview, permission or plan; why not: not_available, denied, sign_in_required, plan_required or prerequisites_missing.';
comment on column learning.my_content_access.required_access_level is 'The access level that a plan must have.';

grant select on learning.my_content_access to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Grain: one row per user and item that the caller can see: whether the user may read its text, and why.
create view learning.user_content_access with (security_invoker=true) as
 select u.id as user_id,
    i.id as content_id,
    learning.gives_access(r.reason) as has_access,
    r.reason,
    i.effective_access_level as required_access_level
   from identity.users u
     cross join lateral ( select learning.user_plan_level(u.id) as plan_level,
            learning.is_content_editor(u.id) as is_editor
         offset 0) l
     cross join learning.content_items i
     left join learning.user_content_permissions own on own.user_id = u.id and own.item_id = i.id and (own.expires_at is null or own.expires_at > now())
     left join learning.user_content_permissions course on course.user_id = u.id and course.item_id = i.course_id and (course.expires_at is null or course.expires_at > now())
     cross join lateral ( select learning.access_reason(l.is_editor, i.author_id = u.id, i.available_from <= now() and (i.available_until is null or i.available_until > now()), coalesce(own.permission, course.permission), i.is_preview, true, i.effective_access_level, l.plan_level, coalesce(own.waives_prerequisites, course.waives_prerequisites), (exists ( select
                   from learning.content_prerequisites p
                  where (p.item_id = any (array[i.id, i.course_id])) and not learning.is_prerequisite_met(u.id, p.required_item_id)))) as reason
         offset 0) r
  where u.id = (( select plinth.current_user_id() as current_user_id)) or (( select plinth.current_user_id() as current_user_id)) is null or ( select access.has_permission('manage_content_access'::text) as has_permission);

comment on view learning.user_content_access is E'@behavior -*\nGrain: one row per user and item that the caller can see: whether the user may read its text, and why.';
comment on column learning.user_content_access.user_id is 'The user.';
comment on column learning.user_content_access.content_id is 'The item.';
comment on column learning.user_content_access.has_access is 'Whether the user may read the item''s text.';
comment on column learning.user_content_access.reason is 'Why: editor, author, preview, permission or plan; why not: not_available, denied, sign_in_required, plan_required or prerequisites_missing.';
comment on column learning.user_content_access.required_access_level is 'The access level that a plan must have.';

grant select on learning.user_content_access to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Why a user has access to an item, or has not.
create or replace function learning.access_reason(is_editor boolean, is_author boolean, is_available boolean, permission text, is_preview boolean, is_signed_in boolean, required_level integer, plan_level integer, waives_prerequisites boolean, misses_prerequisites boolean)
  returns text
  language sql
  immutable parallel safe
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

comment on function learning.access_reason(is_editor boolean, is_author boolean, is_available boolean, permission text, is_preview boolean, is_signed_in boolean, required_level integer, plan_level integer, waives_prerequisites boolean, misses_prerequisites boolean) is E'@omit\nWhy a user has access to an item, or has not.';
revoke execute on function learning.access_reason(is_editor boolean, is_author boolean, is_available boolean, permission text, is_preview boolean, is_signed_in boolean, required_level integer, plan_level integer, waives_prerequisites boolean, misses_prerequisites boolean) from public;
grant execute on function learning.access_reason(is_editor boolean, is_author boolean, is_available boolean, permission text, is_preview boolean, is_signed_in boolean, required_level integer, plan_level integer, waives_prerequisites boolean, misses_prerequisites boolean) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: PL409 when a move to another course makes prerequisites go in a circle.
create or replace function learning.check_moved_lesson()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.check_moved_lesson() from public;

-- Trigger: PL409 when prerequisites would go in a circle.
create or replace function learning.check_prerequisite()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.check_prerequisite() from public;

-- Whether the caller may read the text of each of these items, in their order, why or why not, and what must be completed before.
create or replace function learning.content_access(item_ids uuid[])
  returns table(item_id uuid, has_access boolean, reason text, required_access_level integer, missing_prerequisites uuid[])
  language sql
  stable rows 50
  set search_path to 'pg_catalog'
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

comment on function learning.content_access(item_ids uuid[]) is 'Whether the caller may read the text of each of these items, in their order, why or why not, and what must be completed before.';
revoke execute on function learning.content_access(item_ids uuid[]) from public;
grant execute on function learning.content_access(item_ids uuid[]) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- How many items of a search (the same arguments) there are by content_type, level, language, category and tag (the 30 most frequent), most first.
create or replace function learning.content_search_facets(query text default ''::text, language text default null::text, content_types text[] default null::text[], category_id uuid default null::uuid, tags text[] default null::text[], min_level integer default null::integer, max_level integer default null::integer)
  returns table(facet text, value text, label text, item_count bigint)
  language plpgsql
  stable security definer rows 50
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_custom_plan'
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

comment on function learning.content_search_facets(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer) is 'How many items of a search (the same arguments) there are by content_type, level, language, category and tag (the 30 most frequent), most first.';
revoke execute on function learning.content_search_facets(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer) from public;
grant execute on function learning.content_search_facets(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: keeps an item's rating_count and rating_sum.
create or replace function learning.count_rating()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.count_rating() from public;

-- Hides an item, for a course with all its parts, and keeps everything. Needs edit_content (PL403); PL404 for an unknown item.
create or replace function learning.delete_content(item_id uuid)
  returns learning.content_items
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function learning.delete_content(item_id uuid) is 'Hides an item, for a course with all its parts, and keeps everything. Needs edit_content (PL403); PL404 for an unknown item.';
revoke execute on function learning.delete_content(item_id uuid) from public;
grant execute on function learning.delete_content(item_id uuid) to :PLINTH_USER;

-- Whether a reason is one for access: editor, author, preview, permission or plan.
create or replace function learning.gives_access(reason text)
  returns boolean
  language sql
  immutable parallel safe
as $$
  select reason in ('editor', 'author', 'preview', 'permission', 'plan')
$$;

comment on function learning.gives_access(reason text) is E'@omit\nWhether a reason is one for access: editor, author, preview, permission or plan.';
revoke execute on function learning.gives_access(reason text) from public;
grant execute on function learning.gives_access(reason text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: the text of a published version neither changes, nor goes, nor comes later (PL409).
create or replace function learning.guard_published_body()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.guard_published_body() from public;

-- Trigger: a published version neither changes nor goes (PL409).
create or replace function learning.guard_published_version()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.guard_published_version() from public;

-- Whether the user has completed the item in any version; false for who may not know.
create or replace function learning.has_completed(user_id uuid, item_id uuid)
  returns boolean
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'
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

comment on function learning.has_completed(user_id uuid, item_id uuid) is E'@omit\nWhether the user has completed the item in any version; false for who may not know.';
revoke execute on function learning.has_completed(user_id uuid, item_id uuid) from public;
grant execute on function learning.has_completed(user_id uuid, item_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Whether the user holds edit_content; false for who may not know.
create or replace function learning.is_content_editor(user_id uuid)
  returns boolean
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'
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

comment on function learning.is_content_editor(user_id uuid) is E'@omit\nWhether the user holds edit_content; false for who may not know.';
revoke execute on function learning.is_content_editor(user_id uuid) from public;
grant execute on function learning.is_content_editor(user_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Whether the user has completed the item, or nobody can because it is not available.
create or replace function learning.is_prerequisite_met(user_id uuid, required_item_id uuid)
  returns boolean
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'
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

comment on function learning.is_prerequisite_met(user_id uuid, required_item_id uuid) is E'@omit\nWhether the user has completed the item, or nobody can because it is not available.';
revoke execute on function learning.is_prerequisite_met(user_id uuid, required_item_id uuid) from public;
grant execute on function learning.is_prerequisite_met(user_id uuid, required_item_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: changes of the category tree happen one after another.
create or replace function learning.lock_content_tree()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  update private.content_locks l set taken = l.taken + 1 where l.lock_name = 'categories';
  return null;
end
$$;

comment on function learning.lock_content_tree() is 'Trigger: changes of the category tree happen one after another.';
revoke execute on function learning.lock_content_tree() from public;

-- Trigger: changes of prerequisites happen one after another.
create or replace function learning.lock_prerequisites()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  update private.content_locks l set taken = l.taken + 1 where l.lock_name = 'prerequisites';
  return null;
end
$$;

comment on function learning.lock_prerequisites() is 'Trigger: changes of prerequisites happen one after another.';
revoke execute on function learning.lock_prerequisites() from public;

-- Whether the caller may be told what a user has access to.
create or replace function learning.may_ask_about(user_id uuid)
  returns boolean
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'
as $$
  select case
    when may_ask_about.user_id = plinth.current_user_id() then true
    -- The owner, or a function of the owner's that a job runs.
    when pg_has_role(session_user, current_user, 'member') then true
    else access.has_permission('manage_content_access')
  end
$$;

comment on function learning.may_ask_about(user_id uuid) is E'@omit\nWhether the caller may be told what a user has access to.';
revoke execute on function learning.may_ask_about(user_id uuid) from public;
grant execute on function learning.may_ask_about(user_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Moves a category with all below it under another, or to the top. Needs edit_content (PL404); PL409 for a move below itself.
create or replace function learning.move_category(category_id uuid, new_parent_id uuid default null::uuid)
  returns learning.content_categories
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function learning.move_category(category_id uuid, new_parent_id uuid) is 'Moves a category with all below it under another, or to the top. Needs edit_content (PL404); PL409 for a move below itself.';
revoke execute on function learning.move_category(category_id uuid, new_parent_id uuid) from public;
grant execute on function learning.move_category(category_id uuid, new_parent_id uuid) to :PLINTH_USER;

-- Trigger: the categories below a moved one get their new paths.
create or replace function learning.move_subcategories()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  update learning.content_categories c set parent_id = c.parent_id where c.parent_id = new.id;
  return null;
end
$$;

comment on function learning.move_subcategories() is 'Trigger: the categories below a moved one get their new paths.';
revoke execute on function learning.move_subcategories() from public;

-- Trigger: gives a category its path and depth; PL409 for a circle.
create or replace function learning.place_category()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.place_category() from public;

-- Publishes an item's draft, or its newest version again, now or within a window. Needs edit_content (PL403); PL404 for an unknown item, PL409 for a deleted one, PL422 without a text.
create or replace function learning.publish_content(item_id uuid, publish_from timestamp with time zone default null::timestamp with time zone, publish_until timestamp with time zone default null::timestamp with time zone)
  returns learning.content_items
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function learning.publish_content(item_id uuid, publish_from timestamp with time zone, publish_until timestamp with time zone) is 'Publishes an item''s draft, or its newest version again, now or within a window. Needs edit_content (PL403); PL404 for an unknown item, PL409 for a deleted one, PL422 without a text.';
revoke execute on function learning.publish_content(item_id uuid, publish_from timestamp with time zone, publish_until timestamp with time zone) from public;
grant execute on function learning.publish_content(item_id uuid, publish_from timestamp with time zone, publish_until timestamp with time zone) to :PLINTH_USER;

-- Rates an item 1 to 5, or changes one's rating. PL401 for visitors, PL404 for what one may not read, PL422 for another number.
create or replace function learning.rate_content(item_id uuid, rating integer, review text default ''::text)
  returns learning.content_ratings
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function learning.rate_content(item_id uuid, rating integer, review text) is 'Rates an item 1 to 5, or changes one''s rating. PL401 for visitors, PL404 for what one may not read, PL422 for another number.';
revoke execute on function learning.rate_content(item_id uuid, rating integer, review text) from public;
grant execute on function learning.rate_content(item_id uuid, rating integer, review text) to :PLINTH_USER;

-- The published text of an item. PL401 or PL403 with the reason as hint (denied, sign_in_required, plan_required, prerequisites_missing), PL404 when there is none.
create or replace function learning.read_content(item_id uuid)
  returns learning.content_bodies
  language plpgsql
  stable
  set search_path to 'pg_catalog'
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

comment on function learning.read_content(item_id uuid) is 'The published text of an item. PL401 or PL403 with the reason as hint (denied, sign_in_required, plan_required, prerequisites_missing), PL404 when there is none.';
revoke execute on function learning.read_content(item_id uuid) from public;
grant execute on function learning.read_content(item_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Brings a deleted item back as it was. Needs edit_content (PL403); PL404 for an unknown item.
create or replace function learning.restore_content(item_id uuid)
  returns learning.content_items
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function learning.restore_content(item_id uuid) is 'Brings a deleted item back as it was. Needs edit_content (PL403); PL404 for an unknown item.';
revoke execute on function learning.restore_content(item_id uuid) from public;
grant execute on function learning.restore_content(item_id uuid) to :PLINTH_USER;

-- Writes the draft of an item's next version, in place of an earlier draft. Needs edit_content (PL403); PL404 for an unknown item.
create or replace function learning.save_draft(item_id uuid, body text default null::text, body_format text default 'markdown'::text, change_note text default ''::text)
  returns learning.content_versions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function learning.save_draft(item_id uuid, body text, body_format text, change_note text) is 'Writes the draft of an item''s next version, in place of an earlier draft. Needs edit_content (PL403); PL404 for an unknown item.';
revoke execute on function learning.save_draft(item_id uuid, body text, body_format text, change_note text) from public;
grant execute on function learning.save_draft(item_id uuid, body text, body_format text, change_note text) to :PLINTH_USER;

-- The text search configuration of a language tag; simple where PostgreSQL has none.
create or replace function learning.search_configuration(language text)
  returns regconfig
  language sql
  immutable parallel safe
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

comment on function learning.search_configuration(language text) is E'@omit\nThe text search configuration of a language tag; simple where PostgreSQL has none.';
revoke execute on function learning.search_configuration(language text) from public;
grant execute on function learning.search_configuration(language text) to :PLINTH_USER;

-- Searches available content by title, tags and summary, best first; without a query, newest first.
create or replace function learning.search_content(query text default ''::text, language text default null::text, content_types text[] default null::text[], category_id uuid default null::uuid, tags text[] default null::text[], min_level integer default null::integer, max_level integer default null::integer, max_results integer default 20, skip integer default 0)
  returns table(item learning.content_items, rank real, title_html text, summary_html text, is_similar boolean)
  language plpgsql
  stable security definer rows 20
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_custom_plan'
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

comment on function learning.search_content(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer, max_results integer, skip integer) is E'Searches available content by title, tags and summary, best first; without a query, newest first.\nquery: words, "a phrase", or, -not. language: only that language and its regional variants; otherwise each item is searched in its own. categoryId: with all below. tags: all of them. maxResults: up to 100.\ntitleHtml and summaryHtml are escaped, with <mark> around what was found. isSimilar: no item has the words, these titles look like them.';
revoke execute on function learning.search_content(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer, max_results integer, skip integer) from public;
grant execute on function learning.search_content(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer, max_results integer, skip integer) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- The words of an item, stemmed in its language and weighted: title A, tags B, summary C.
create or replace function learning.search_document(language text, title text, summary text, tags text[])
  returns tsvector
  language sql
  immutable parallel safe
as $$
  select
    setweight(to_tsvector(learning.search_configuration(language), title), 'A')
    || setweight(to_tsvector(learning.search_configuration(language), array_to_string(tags, ' ')), 'B')
    || setweight(to_tsvector(learning.search_configuration(language), summary), 'C')
$$;

comment on function learning.search_document(language text, title text, summary text, tags text[]) is E'@omit\nThe words of an item, stemmed in its language and weighted: title A, tags B, summary C.';
revoke execute on function learning.search_document(language text, title text, summary text, tags text[]) from public;
grant execute on function learning.search_document(language text, title text, summary text, tags text[]) to :PLINTH_USER;

-- Trigger: tidies the tags, and works out level and window from the item's own and its course's.
create or replace function learning.settle_content_item()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function learning.settle_content_item() is 'Trigger: tidies the tags, and works out level and window from the item''s own and its course''s.';
revoke execute on function learning.settle_content_item() from public;

-- Trigger: a course's new window or level reaches its lessons.
create or replace function learning.settle_lessons()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  update learning.content_items i set available_from = i.available_from where i.course_id = new.id;
  return null;
end
$$;

comment on function learning.settle_lessons() is 'Trigger: a course''s new window or level reaches its lessons.';
revoke execute on function learning.settle_lessons() from public;

-- Withdraws an item, for a course with all its parts. Its versions stay. Needs edit_content (PL403); PL404 for an unknown item.
create or replace function learning.unpublish_content(item_id uuid)
  returns learning.content_items
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function learning.unpublish_content(item_id uuid) is 'Withdraws an item, for a course with all its parts. Its versions stay. Needs edit_content (PL403); PL404 for an unknown item.';
revoke execute on function learning.unpublish_content(item_id uuid) from public;
grant execute on function learning.unpublish_content(item_id uuid) to :PLINTH_USER;

-- The access level of the user's current plan; 0 without one, and for who may not know.
create or replace function learning.user_plan_level(user_id uuid)
  returns integer
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'
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

comment on function learning.user_plan_level(user_id uuid) is E'@omit\nThe access level of the user''s current plan; 0 without one, and for who may not know.';
revoke execute on function learning.user_plan_level(user_id uuid) from public;
grant execute on function learning.user_plan_level(user_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
