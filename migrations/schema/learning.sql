-- Schema learning as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema learning;
comment on schema learning is 'Skills, content, access to content, and learning progress.';
grant usage on schema learning to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Types and sequences ---------------------------------------------------------------------------------

-- Result of a recorded heartbeat.
create type learning.heartbeat_result as (
  event_id uuid,
  item_id uuid,
  outcome text,
  reason text
);

comment on type learning.heartbeat_result is 'Result of a recorded heartbeat.';

-- Progress of a user over a number of items that are available now.
create type learning.progress_summary as (
  item_count integer,
  completed_count integer,
  progress numeric(5,4),
  active_seconds bigint,
  last_activity_at timestamp with time zone
);

comment on type learning.progress_summary is 'Progress of a user over a number of items that are available now.';

-- Tables ----------------------------------------------------------------------------------------------

-- One row per version with a text. Readable by users with access to the item.
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

comment on table learning.content_bodies is 'One row per version with a text. Readable by users with access to the item.';
comment on column learning.content_bodies.item_id is 'The item.';
comment on column learning.content_bodies.version is 'Version number of the item.';
comment on column learning.content_bodies.body_format is 'Format: markdown, html, text, json, or url if the text is hosted elsewhere.';
comment on column learning.content_bodies.body is 'Text of the version, or its URL; at most 4,000,000 bytes.';
comment on constraint content_bodies_item_id_version_fkey on learning.content_bodies is E'@fieldName contentVersion\n@foreignFieldName contentBody';

create policy select_accessible on learning.content_bodies
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using ((exists ( select
   from learning.content_items i
     join learning.my_content_access a on a.content_id = i.id
  where i.id = content_bodies.item_id and i.current_version = content_bodies.version and a.has_access)));
comment on policy select_accessible on learning.content_bodies is 'Users with access to an item read its published text; see learning.access_reason.';
create policy select_author on learning.content_bodies
  for select to :PLINTH_USER
  using ((exists ( select
   from learning.content_items i
  where i.id = content_bodies.item_id and i.author_id = (select plinth.current_user_id()))));
comment on policy select_author on learning.content_bodies is 'Authors read all texts of their items, including drafts.';
create policy select_editor on learning.content_bodies
  for select to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)));
comment on policy select_editor on learning.content_bodies is 'Users with edit_content read all texts.';

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
comment on column learning.content_categories.id is 'Id (UUIDv7).';
comment on column learning.content_categories.parent_id is 'The parent category; null at the top level. Changing it moves the subtree.';
comment on column learning.content_categories.slug is 'Name in URLs, unique among siblings: lower case letters, digits and hyphens, at most 60 characters.';
comment on column learning.content_categories.name is 'Name shown to people.';
comment on column learning.content_categories.description is 'Description of the content in the category.';
comment on column learning.content_categories."position" is 'Position among siblings.';
comment on column learning.content_categories.path is 'Slugs from the top level, joined by slashes; maintained by the database.';
comment on column learning.content_categories.depth is 'Depth in the tree, 1 at the top and at most 10; maintained by the database.';
comment on column learning.content_categories.created_at is 'Time when the category was created.';
comment on column learning.content_categories.updated_at is 'Time of the last change.';
comment on constraint content_categories_parent_id_fkey on learning.content_categories is E'@fieldName parent\n@foreignFieldName children';

create policy delete_editor on learning.content_categories
  for delete to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)));
comment on policy delete_editor on learning.content_categories is 'Users with edit_content delete empty categories.';
create policy insert_editor on learning.content_categories
  for insert to :PLINTH_USER
  with check ((select access.has_permission('edit_content'::text)));
comment on policy insert_editor on learning.content_categories is 'Users with edit_content add categories.';
create policy select_all on learning.content_categories
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (true);
comment on policy select_all on learning.content_categories is 'Everyone reads the categories.';
create policy update_editor on learning.content_categories
  for update to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)))
  with check ((select access.has_permission('edit_content'::text)));
comment on policy update_editor on learning.content_categories is 'Users with edit_content change and move categories.';

grant
  select,
  insert (parent_id, slug, name, description, "position"),
  update (parent_id, slug, name, description, "position"),
  delete
  on learning.content_categories to :PLINTH_USER;
grant select on learning.content_categories to :PLINTH_ANONYMOUS;

-- One row per session of a user with an item; partitioned by month of created_at.
create table learning.content_consumption (
  user_id uuid not null,
  item_id uuid not null,
  version integer not null,
  started_at timestamp with time zone not null,
  last_activity_at timestamp with time zone not null,
  active_seconds integer not null,
  heartbeat_count integer not null,
  covered int4multirange not null,
  created_at timestamp with time zone not null default clock_timestamp(),
  active int4multirange not null default '{}'::int4multirange,
  constraint content_consumption_pkey primary key (user_id, item_id, created_at),
  constraint content_consumption_active_seconds_is_not_negative check (active_seconds >= 0),
  constraint content_consumption_ends_after_its_start check (last_activity_at >= started_at),
  constraint content_consumption_heartbeat_count_is_positive check (heartbeat_count > 0),
  constraint content_consumption_item_id_fkey foreign key (item_id) references learning.content_items(id) on delete cascade,
  constraint content_consumption_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
) partition by range (created_at);

alter table learning.content_consumption enable row level security;

create index content_consumption_item_id_created_at_idx on learning.content_consumption using btree (item_id, created_at);

comment on table learning.content_consumption is 'One row per session of a user with an item; partitioned by month of created_at.';
comment on column learning.content_consumption.user_id is 'The user.';
comment on column learning.content_consumption.item_id is 'The item.';
comment on column learning.content_consumption.version is 'Version of the item.';
comment on column learning.content_consumption.started_at is 'Start of the session, by the client''s clock.';
comment on column learning.content_consumption.last_activity_at is 'Time of the last heartbeat, by the client''s clock.';
comment on column learning.content_consumption.active_seconds is 'Active time in seconds, without pauses; a second in two tabs counts once.';
comment on column learning.content_consumption.heartbeat_count is 'Number of heartbeats merged into the session.';
comment on column learning.content_consumption.covered is E'@behavior -*\nRanges of the item''s seconds that were played.';
comment on column learning.content_consumption.created_at is 'Time when the first heartbeat arrived; the partition key.';
comment on column learning.content_consumption.active is E'@behavior -*\nKnown seconds of the clock spent in the session, counted from the year 2000 (UTC).';
comment on constraint content_consumption_item_id_fkey on learning.content_consumption is E'@fieldName item\n@foreignFieldName contentConsumptions';

create policy select_own on learning.content_consumption
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.content_consumption is 'Users read their own viewing sessions.';

grant select on learning.content_consumption to :PLINTH_USER;

-- One row per content item: its public part. The text is in content_bodies.
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

create trigger _050_record_content_before
  before insert or delete or update on learning.content_items
  for each statement
  execute function learning.record_content_before();
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
create trigger _800_record_deleted_content
  after delete on learning.content_items referencing old table as old_items
  for each statement
  execute function learning.record_changed_content();
create trigger _800_record_updated_content
  after update on learning.content_items referencing old table as old_items new table as new_items
  for each statement
  execute function learning.record_changed_content();
create trigger _900_touch_updated_at
  before update of category_id, course_id, "position", slug, content_type, title, summary, level, duration_seconds, language, tags, author_id, required_access_level, is_preview, current_version, publish_from, publish_until, deleted_at on learning.content_items
  for each row
  execute function plinth.touch_updated_at('search_document', 'rating_average');

comment on table learning.content_items is 'One row per content item: its public part. The text is in content_bodies.';
comment on column learning.content_items.id is 'Id (UUIDv7).';
comment on column learning.content_items.category_id is 'The category of the item.';
comment on column learning.content_items.course_id is 'The course that the item is part of, or null.';
comment on column learning.content_items."position" is 'Position within the course.';
comment on column learning.content_items.slug is 'Unique name in URLs and imports: lower case letters, digits and hyphens, at most 120 characters.';
comment on column learning.content_items.content_type is 'Type: course, lesson, article, video, exercise, quiz or project.';
comment on column learning.content_items.title is 'Title, 1 to 300 characters.';
comment on column learning.content_items.summary is 'Public summary, at most 5,000 characters.';
comment on column learning.content_items.level is 'Required level of knowledge, 0 to 10, on the scale of skill levels.';
comment on column learning.content_items.duration_seconds is 'Duration in seconds; null if unknown.';
comment on column learning.content_items.language is 'Language tag (BCP 47), such as en or pt-BR. Determines how search stems the text.';
comment on column learning.content_items.tags is 'Search tags, at most 30; stored in lower case, sorted and unique.';
comment on column learning.content_items.author_id is 'The author, who sees the item before it is published; null for an import or a deleted account.';
comment on column learning.content_items.required_access_level is 'Lowest access level of plans that include the item; null for the course''s level, or 0.';
comment on column learning.content_items.is_preview is 'Whether everyone may read the item, including visitors, whatever the plan.';
comment on column learning.content_items.current_version is 'Number of the published version; null while the item is a draft or withdrawn.';
comment on column learning.content_items.publish_from is 'Time from which the item is visible.';
comment on column learning.content_items.publish_until is 'Time from which the item is hidden; null for never.';
comment on column learning.content_items.deleted_at is 'Time when the item was deleted; null if not deleted. restore_content restores it.';
comment on column learning.content_items.effective_access_level is 'Effective access level: the item''s own, or its course''s. Maintained by the database.';
comment on column learning.content_items.available_from is 'Time from which the item and its course are both visible; null while one of them is unpublished or deleted. Maintained by the database.';
comment on column learning.content_items.available_until is 'Time from which the item or its course is hidden; null for never. Maintained by the database.';
comment on column learning.content_items.rating_count is 'Number of users who rated the item.';
comment on column learning.content_items.rating_sum is 'Sum of the ratings.';
comment on column learning.content_items.rating_average is 'Average rating, 1.00 to 5.00; null without ratings.';
comment on column learning.content_items.created_at is 'Time when the item was created.';
comment on column learning.content_items.updated_at is 'Time when the item''s metadata last changed.';
comment on column learning.content_items.search_document is E'@behavior -*\nSearch document of the item: title, tags and summary, stemmed in its language.';
comment on constraint content_items_category_id_fkey on learning.content_items is E'@fieldName category\n@foreignFieldName items';
comment on constraint content_items_course_id_fkey on learning.content_items is E'@fieldName course\n@foreignFieldName parts';
comment on constraint content_items_current_version_fkey on learning.content_items is E'@fieldName publishedVersion\n@foreignFieldName publishedItem';

create policy all_editor on learning.content_items
  for all to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)))
  with check ((select access.has_permission('edit_content'::text)));
comment on policy all_editor on learning.content_items is 'Users with edit_content read, add and change all items.';
create policy select_author on learning.content_items
  for select to :PLINTH_USER
  using (author_id = (select plinth.current_user_id()));
comment on policy select_author on learning.content_items is 'Authors read their own items in any state.';
create policy select_available on learning.content_items
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (available_from <= now() and (available_until is null or available_until > now()));
comment on policy select_available on learning.content_items is 'Everyone reads the metadata of items that are published, within their window and not deleted.';

grant
  select,
  insert (category_id, course_id, "position", slug, content_type, title, summary, level, duration_seconds, language, tags, required_access_level, is_preview),
  update (category_id, course_id, "position", slug, content_type, title, summary, level, duration_seconds, language, tags, required_access_level, is_preview, publish_until)
  on learning.content_items to :PLINTH_USER;
grant select on learning.content_items to :PLINTH_ANONYMOUS;

-- One row per item and the item that must be completed before it.
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

comment on table learning.content_prerequisites is 'One row per item and the item that must be completed before it.';
comment on column learning.content_prerequisites.item_id is 'The item that is unlocked; for a course, also each of its lessons.';
comment on column learning.content_prerequisites.required_item_id is 'The item that must be completed first. It counts while it is available.';
comment on column learning.content_prerequisites.created_at is 'Time when the prerequisite was added.';
comment on constraint content_prerequisites_item_id_fkey on learning.content_prerequisites is E'@fieldName item\n@foreignFieldName prerequisites';
comment on constraint content_prerequisites_required_item_id_fkey on learning.content_prerequisites is E'@fieldName requiredItem\n@foreignFieldName requiredBy';

create policy delete_editor on learning.content_prerequisites
  for delete to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)));
comment on policy delete_editor on learning.content_prerequisites is 'Users with edit_content delete prerequisites.';
create policy insert_editor on learning.content_prerequisites
  for insert to :PLINTH_USER
  with check ((select access.has_permission('edit_content'::text)));
comment on policy insert_editor on learning.content_prerequisites is 'Users with edit_content add prerequisites.';
create policy select_visible on learning.content_prerequisites
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using ((exists ( select
   from learning.content_items i
  where i.id = content_prerequisites.item_id)) and (exists ( select
   from learning.content_items i
  where i.id = content_prerequisites.required_item_id)));
comment on policy select_visible on learning.content_prerequisites is 'Users who see both items see that one requires the other.';

grant select on learning.content_prerequisites to :PLINTH_ANONYMOUS;
grant select, insert (item_id, required_item_id), delete on learning.content_prerequisites to :PLINTH_USER;

-- One row per user and item they have started: progress and the position to continue from.
create table learning.content_progress (
  user_id uuid not null,
  item_id uuid not null,
  version integer not null,
  covered int4multirange not null default '{}'::int4multirange,
  covered_seconds integer not null default 0,
  duration_seconds integer,
  position_seconds integer not null default 0,
  position_at timestamp with time zone,
  active_seconds bigint not null default 0,
  completed_version integer,
  completed_at timestamp with time zone,
  progress numeric(5,4) not null generated always as (
case
    when completed_version is not null then 1::numeric
    when duration_seconds > 0 then least(trunc(covered_seconds::numeric / duration_seconds::numeric, 4), 0.9999)
    else 0::numeric
end) stored,
  credited_version integer,
  session_created_at timestamp with time zone,
  access_checked_at timestamp with time zone,
  started_at timestamp with time zone not null,
  last_activity_at timestamp with time zone not null,
  active int4multirange not null default '{}'::int4multirange,
  constraint content_progress_pkey primary key (user_id, item_id),
  constraint content_progress_active_seconds_is_not_negative check (active_seconds >= 0),
  constraint content_progress_completed_has_version_and_time check ((completed_version is null) = (completed_at is null)),
  constraint content_progress_covered_seconds_is_not_negative check (covered_seconds >= 0),
  constraint content_progress_position_seconds_is_not_negative check (position_seconds >= 0),
  constraint content_progress_version_is_positive check (version > 0),
  constraint content_progress_item_id_completed_version_fkey foreign key (item_id, completed_version) references learning.content_versions(item_id, version) on delete cascade,
  constraint content_progress_item_id_fkey foreign key (item_id) references learning.content_items(id) on delete cascade,
  constraint content_progress_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
) with (fillfactor=70);

alter table learning.content_progress enable row level security;

create index content_progress_item_id_completed_version_idx on learning.content_progress using btree (item_id, completed_version);

comment on table learning.content_progress is 'One row per user and item they have started: progress and the position to continue from.';
comment on column learning.content_progress.user_id is 'The user.';
comment on column learning.content_progress.item_id is 'The item. A course has a row once one of its parts was completed.';
comment on column learning.content_progress.version is 'Latest version the user has played; covered and position refer to it.';
comment on column learning.content_progress.covered is E'@behavior -*\nRanges of seconds of that version that were played.';
comment on column learning.content_progress.covered_seconds is 'Number of seconds of that version that were played, each counted once.';
comment on column learning.content_progress.duration_seconds is 'Duration of the item in seconds at the last heartbeat; null if unknown.';
comment on column learning.content_progress.position_seconds is 'Position to continue from, in seconds.';
comment on column learning.content_progress.position_at is 'Time when the user was at that position.';
comment on column learning.content_progress.active_seconds is 'Active time with the item in seconds, over all versions and repetitions; a second in two tabs counts once.';
comment on column learning.content_progress.completed_version is 'Latest version the user has completed; null if none.';
comment on column learning.content_progress.completed_at is 'Time when the user completed that version.';
comment on column learning.content_progress.progress is 'Progress from 0.0 to 1.0; 1 once any version is completed. For a course, use its field `progress`.';
comment on column learning.content_progress.credited_version is E'@behavior -*\nCompleted version that has already been credited to course, training and evidence.';
comment on column learning.content_progress.session_created_at is E'@behavior -*\nKey of the session with the latest activity, where the next heartbeat most likely belongs.';
comment on column learning.content_progress.access_checked_at is E'@behavior -*\nTime when access to the item was last checked for a heartbeat; null forces a new check.';
comment on column learning.content_progress.started_at is 'Time when the user first played the item.';
comment on column learning.content_progress.last_activity_at is 'Time when the user last played the item.';
comment on column learning.content_progress.active is E'@behavior -*\nKnown seconds of the clock spent with the item, counted from the year 2000 (UTC).';
comment on constraint content_progress_item_id_completed_version_fkey on learning.content_progress is '@behavior -*';
comment on constraint content_progress_item_id_fkey on learning.content_progress is E'@fieldName item\n@foreignFieldName contentProgresses';

create policy select_manager on learning.content_progress
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills'::text)));
comment on policy select_manager on learning.content_progress is 'Users with manage_skills read all progress.';
create policy select_own on learning.content_progress
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.content_progress is 'Users read their own progress.';

grant select on learning.content_progress to :PLINTH_USER;

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
comment on column learning.content_ratings.item_id is 'The rated item.';
comment on column learning.content_ratings.user_id is 'The user who rated the item.';
comment on column learning.content_ratings.rating is 'Rating from 1 to 5.';
comment on column learning.content_ratings.review is 'Review of the user, or empty.';
comment on column learning.content_ratings.created_at is 'Time of the first rating.';
comment on column learning.content_ratings.updated_at is 'Time of the last change of the rating.';
comment on constraint content_ratings_item_id_fkey on learning.content_ratings is E'@fieldName item\n@foreignFieldName ratings';

create policy delete_editor on learning.content_ratings
  for delete to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)));
comment on policy delete_editor on learning.content_ratings is 'Users with edit_content delete ratings.';
create policy delete_own on learning.content_ratings
  for delete to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy delete_own on learning.content_ratings is 'Users delete their own ratings.';
create policy insert_own on learning.content_ratings
  for insert to :PLINTH_USER
  with check (user_id = (select plinth.current_user_id()) and (exists ( select
   from learning.my_content_access a
  where a.content_id = content_ratings.item_id and a.has_access)));
comment on policy insert_own on learning.content_ratings is 'Users rate items they may read.';
create policy select_editor on learning.content_ratings
  for select to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)));
comment on policy select_editor on learning.content_ratings is 'Users with edit_content read all ratings.';
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

-- One row per item and skill that it teaches.
create table learning.content_skills (
  item_id uuid not null,
  skill_id uuid not null,
  gain numeric not null default 0.25,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint content_skills_pkey primary key (item_id, skill_id),
  constraint content_skills_gain_has_two_decimals check (gain = round(gain, 2)),
  constraint content_skills_gain_is_from_0_to_10 check (gain >= 0::numeric and gain <= 10::numeric),
  constraint content_skills_item_id_fkey foreign key (item_id) references learning.content_items(id) on delete cascade,
  constraint content_skills_skill_id_fkey foreign key (skill_id) references learning.skills(id) on delete cascade
);

alter table learning.content_skills enable row level security;

create index content_skills_skill_id_idx on learning.content_skills using btree (skill_id);

create trigger _050_record_content_before
  before insert or delete or update on learning.content_skills
  for each statement
  execute function learning.record_content_before();
create trigger _800_record_added_skills
  after insert on learning.content_skills referencing new table as new_skills
  for each statement
  execute function learning.record_changed_skills();
create trigger _800_record_deleted_skills
  after delete on learning.content_skills referencing old table as old_skills
  for each statement
  execute function learning.record_changed_skills();
create trigger _800_record_updated_skills
  after update on learning.content_skills referencing old table as old_skills new table as new_skills
  for each statement
  execute function learning.record_changed_skills();
create trigger _900_touch_updated_at
  before update on learning.content_skills
  for each row
  execute function plinth.touch_updated_at();
create trigger _910_keep_scale
  before insert or update of gain on learning.content_skills
  for each row
  execute function plinth.keep_scale('2', 'gain');

comment on table learning.content_skills is 'One row per item and skill that it teaches.';
comment on column learning.content_skills.item_id is 'The item, which may be a course.';
comment on column learning.content_skills.skill_id is 'The skill.';
comment on column learning.content_skills.gain is 'Increase of the skill level on completing the item, once; 0 to 10.';
comment on column learning.content_skills.created_at is 'Time when the skill was added to the item.';
comment on column learning.content_skills.updated_at is 'Time of the last change.';
comment on constraint content_skills_gain_has_two_decimals on learning.content_skills is 'The gain must have at most two decimals.';
comment on constraint content_skills_item_id_fkey on learning.content_skills is E'@fieldName item\n@foreignFieldName contentSkills';

create policy all_editor on learning.content_skills
  for all to :PLINTH_USER
  using ((select access.has_permission('edit_content'::text)))
  with check ((select access.has_permission('edit_content'::text)));
comment on policy all_editor on learning.content_skills is 'Users with edit_content set the skills that items teach.';
create policy select_visible on learning.content_skills
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using ((exists ( select
   from learning.content_items i
  where i.id = content_skills.item_id)));
comment on policy select_visible on learning.content_skills is 'Users who see an item see the skills it teaches.';

grant
  select,
  insert (item_id, skill_id, gain),
  update (gain),
  delete
  on learning.content_skills to :PLINTH_USER;
grant select on learning.content_skills to :PLINTH_ANONYMOUS;

-- One row per version of an item. Published versions never change.
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

comment on table learning.content_versions is 'One row per version of an item. Published versions never change.';
comment on column learning.content_versions.item_id is 'The item.';
comment on column learning.content_versions.version is 'Version number within the item, from 1.';
comment on column learning.content_versions.change_note is 'Description of the changes in this version.';
comment on column learning.content_versions.created_by is 'The author of the version; null for an import or a deleted account.';
comment on column learning.content_versions.created_at is 'Time when the version was created.';
comment on column learning.content_versions.updated_at is 'Time of the draft''s last change.';
comment on column learning.content_versions.published_at is 'Time of publication; null for the draft.';
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
comment on policy select_editor on learning.content_versions is 'Users with edit_content read all versions.';
create policy select_published on learning.content_versions
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (published_at is not null and (exists ( select
   from learning.content_items i
  where i.id = content_versions.item_id)));
comment on policy select_published on learning.content_versions is 'Users who see an item see which of its versions were published.';

grant select on learning.content_versions to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- One row per change, or attempted change, of a skill level. A level is the sum of its evidence.
create table learning.skill_evidence (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  skill_id uuid not null,
  kind text not null,
  delta numeric not null,
  source_key text,
  note text,
  recorded_by uuid default plinth.current_user_id(),
  created_at timestamp with time zone not null default clock_timestamp(),
  constraint skill_evidence_pkey primary key (id),
  constraint skill_evidence_user_id_skill_id_source_key_key unique (user_id, skill_id, source_key),
  constraint skill_evidence_delta_has_two_decimals check (delta = round(delta, 2)),
  constraint skill_evidence_delta_is_from_minus_10_to_10 check (delta >= '-10'::integer::numeric and delta <= 10::numeric),
  constraint skill_evidence_kind_check check (kind = any (array['initial'::text, 'assessment'::text, 'training'::text, 'content'::text, 'adjustment'::text])),
  constraint skill_evidence_note_check check (length(note) >= 1 and length(note) <= 2000),
  constraint skill_evidence_source_key_check check (length(source_key) >= 1 and length(source_key) <= 200),
  constraint skill_evidence_recorded_by_fkey foreign key (recorded_by) references identity.users(id) on delete set null,
  constraint skill_evidence_user_id_skill_id_fkey foreign key (user_id, skill_id) references learning.user_skills(user_id, skill_id) on delete cascade
);

alter table learning.skill_evidence enable row level security;

create index skill_evidence_recorded_by_idx on learning.skill_evidence using btree (recorded_by);

create trigger _500_sum_skill_evidence
  after insert or delete or update of delta on learning.skill_evidence
  for each row
  execute function learning.sum_skill_evidence();
create trigger _910_keep_scale
  before insert or update of delta on learning.skill_evidence
  for each row
  execute function plinth.keep_scale('2', 'delta');

comment on table learning.skill_evidence is 'One row per change, or attempted change, of a skill level. A level is the sum of its evidence.';
comment on column learning.skill_evidence.id is 'Id (UUIDv7).';
comment on column learning.skill_evidence.user_id is 'The user.';
comment on column learning.skill_evidence.skill_id is 'The skill.';
comment on column learning.skill_evidence.kind is 'Kind of evidence: initial (the level at the start), assessment (by a person or the application), training (a completed run), content (completed items) or adjustment (entered by the owner).';
comment on column learning.skill_evidence.delta is 'Change of the level; smaller than intended if the level reached 0 or 10.';
comment on column learning.skill_evidence.source_key is 'Key of the source, such as training:1; each counts once per user and skill. Null for evidence that may repeat.';
comment on column learning.skill_evidence.note is 'Reason for the change.';
comment on column learning.skill_evidence.recorded_by is 'The signed-in account that recorded it; null for a job, psql or a deleted account.';
comment on column learning.skill_evidence.created_at is 'Time of the change.';
comment on constraint skill_evidence_user_id_skill_id_source_key_key on learning.skill_evidence is '@behavior -*';
comment on constraint skill_evidence_delta_has_two_decimals on learning.skill_evidence is 'The change must have at most two decimals.';
comment on constraint skill_evidence_user_id_skill_id_fkey on learning.skill_evidence is E'@fieldName userSkill\n@foreignFieldName evidence';

create policy select_manager on learning.skill_evidence
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills'::text)));
comment on policy select_manager on learning.skill_evidence is 'Users with manage_skills read all evidence.';
create policy select_own on learning.skill_evidence
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.skill_evidence is 'Users read the evidence for their own levels.';

grant select on learning.skill_evidence to :PLINTH_USER;

-- One row per skill that users can have and train.
create table learning.skills (
  id uuid not null default plinth.uuid_v7(),
  skill_name text not null,
  display_name text,
  description text not null default ''::text,
  training_gain numeric not null default 1,
  is_active boolean not null default true,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint skills_pkey primary key (id),
  constraint skills_skill_name_key unique (skill_name),
  constraint skills_description_check check (length(description) <= 10000),
  constraint skills_display_name_check check (length(display_name) >= 1 and length(display_name) <= 200 and display_name = trim(both from display_name)),
  constraint skills_skill_name_is_a_lower_case_key check (skill_name ~ '^[a-z][a-z0-9_]{0,99}$'::text),
  constraint skills_training_gain_has_two_decimals check (training_gain = round(training_gain, 2)),
  constraint skills_training_gain_is_from_0_to_10 check (training_gain >= 0::numeric and training_gain <= 10::numeric)
);

alter table learning.skills enable row level security;

create trigger _900_touch_updated_at
  before update on learning.skills
  for each row
  execute function plinth.touch_updated_at();
create trigger _910_keep_scale
  before insert or update of training_gain on learning.skills
  for each row
  execute function plinth.keep_scale('2', 'training_gain');

comment on table learning.skills is 'One row per skill that users can have and train.';
comment on column learning.skills.id is 'Id (UUIDv7).';
comment on column learning.skills.skill_name is 'Unique key of lower case letters, digits and underscores, such as active_listening.';
comment on column learning.skills.display_name is 'Name shown to people, or null.';
comment on column learning.skills.description is 'Description of what the skill enables a person to do.';
comment on column learning.skills.training_gain is 'Increase of the level on completing a training, 0 to 10.';
comment on column learning.skills.is_active is 'Whether the skill is in use. Inactive skills are hidden and cannot be added; users keep theirs.';
comment on column learning.skills.created_at is 'Time when the skill was created.';
comment on column learning.skills.updated_at is 'Time of the last change.';
comment on constraint skills_training_gain_has_two_decimals on learning.skills is 'The gain must have at most two decimals.';

create policy all_manager on learning.skills
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_skills'::text)))
  with check ((select access.has_permission('manage_skills'::text)));
comment on policy all_manager on learning.skills is 'Users with manage_skills read and write all skills.';
create policy select_active on learning.skills
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (is_active);
comment on policy select_active on learning.skills is 'Everyone reads the active skills.';

grant
  select,
  insert (skill_name, display_name, description, training_gain, is_active),
  update (skill_name, display_name, description, training_gain, is_active),
  delete
  on learning.skills to :PLINTH_USER;
grant select on learning.skills to :PLINTH_ANONYMOUS;

-- One row per user and skill they train; at most one, whatever its state.
create table learning.training (
  user_id uuid not null default plinth.current_user_id(),
  skill_id uuid not null,
  status text not null default 'pending'::text,
  progress numeric not null default 0,
  run integer not null default 1,
  started_at timestamp with time zone,
  completed_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint training_pkey primary key (user_id, skill_id),
  constraint training_completed_at_is_of_the_completed check ((status = 'completed'::text) = (completed_at is not null)),
  constraint training_is_completed_when_its_progress_is_1 check ((status = 'completed'::text) = (progress = 1::numeric)),
  constraint training_is_started_before_it_is_active check (status = 'pending'::text or started_at is not null),
  constraint training_progress_has_four_decimals check (progress = round(progress, 4)),
  constraint training_progress_is_from_0_to_1 check (progress >= 0::numeric and progress <= 1::numeric),
  constraint training_run_is_positive check (run >= 1),
  constraint training_status_check check (status = any (array['pending'::text, 'active'::text, 'completed'::text])),
  constraint training_skill_id_fkey foreign key (skill_id) references learning.skills(id) on delete cascade,
  constraint training_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table learning.training enable row level security;

create index training_skill_id_status_idx on learning.training using btree (skill_id, status);

create trigger _100_move_training
  before insert or update on learning.training
  for each row
  execute function learning.move_training();
create trigger _500_credit_training
  after update on learning.training
  for each row
  when (new.status = 'completed'::text and old.status <> 'completed'::text)
  execute function learning.credit_training();
create trigger _500_credit_training_begun
  after insert on learning.training
  for each row
  when (new.status = 'completed'::text)
  execute function learning.credit_training();
create trigger _600_count_completed_items
  after insert or update of status on learning.training
  for each row
  when (new.status = 'active'::text)
  execute function learning.count_completed_items();
create trigger _900_touch_updated_at
  before update on learning.training
  for each row
  execute function plinth.touch_updated_at();
create trigger _910_keep_scale
  before insert or update on learning.training
  for each row
  execute function plinth.keep_scale('4', 'progress');

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

create policy select_manager on learning.training
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills'::text)));
comment on policy select_manager on learning.training is 'Users with manage_skills read all trainings.';
create policy select_own on learning.training
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.training is 'Users read their own trainings.';

grant select on learning.training to :PLINTH_USER;

-- One row per user and item allowed or denied to them, whatever their plan. A row for a course applies to its lessons without a row of their own.
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

create trigger _500_forget_checked_access
  after insert or delete or update on learning.user_content_permissions
  for each row
  execute function learning.forget_checked_access();
create trigger _700_record_data_change
  after insert or delete or update on learning.user_content_permissions
  for each row
  execute function private.record_data_change('user_id,item_id', 'user_id', 'updated_at', '');
create trigger _900_touch_updated_at
  before update on learning.user_content_permissions
  for each row
  execute function plinth.touch_updated_at();

comment on table learning.user_content_permissions is 'One row per user and item allowed or denied to them, whatever their plan. A row for a course applies to its lessons without a row of their own.';
comment on column learning.user_content_permissions.user_id is 'The user.';
comment on column learning.user_content_permissions.item_id is 'The item.';
comment on column learning.user_content_permissions.permission is 'Permission: allow (replaces a plan) or deny (whatever the plan).';
comment on column learning.user_content_permissions.waives_prerequisites is 'Whether an allow also waives the prerequisites.';
comment on column learning.user_content_permissions.reason is 'Reason for the decision.';
comment on column learning.user_content_permissions.granted_by is 'The account that decided; null if the system decided or the account was deleted.';
comment on column learning.user_content_permissions.granted_at is 'Time of the decision.';
comment on column learning.user_content_permissions.expires_at is 'Time when the permission expires; null if it does not expire.';
comment on column learning.user_content_permissions.updated_at is 'Time of the last change.';
comment on constraint user_content_permissions_item_id_fkey on learning.user_content_permissions is E'@fieldName item\n@foreignFieldName userPermissions';

create policy all_manager on learning.user_content_permissions
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_content_access'::text)))
  with check ((select access.has_permission('manage_content_access'::text)));
comment on policy all_manager on learning.user_content_permissions is 'Users with manage_content_access read, grant and revoke all.';
create policy select_own on learning.user_content_permissions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.user_content_permissions is 'Users read the permissions and denials that apply to them.';

grant
  select,
  insert (user_id, item_id, permission, waives_prerequisites, reason, expires_at),
  update (permission, waives_prerequisites, reason, expires_at),
  delete
  on learning.user_content_permissions to :PLINTH_USER;
grant select on learning.user_content_permissions to :PLINTH_ANONYMOUS;

-- One row per user and skill they have added.
create table learning.user_skills (
  user_id uuid not null default plinth.current_user_id(),
  skill_id uuid not null,
  level numeric not null default 0,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint user_skills_pkey primary key (user_id, skill_id),
  constraint user_skills_level_has_two_decimals check (level = round(level, 2)),
  constraint user_skills_level_is_from_0_to_10 check (level >= 0::numeric and level <= 10::numeric),
  constraint user_skills_skill_id_fkey foreign key (skill_id) references learning.skills(id) on delete cascade,
  constraint user_skills_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table learning.user_skills enable row level security;

create index user_skills_skill_id_level_idx on learning.user_skills using btree (skill_id, level);

create trigger _500_note_skill_level
  after insert or update of level on learning.user_skills
  for each row
  execute function learning.note_skill_level();
create trigger _900_touch_updated_at
  before update on learning.user_skills
  for each row
  execute function plinth.touch_updated_at();
create trigger _910_keep_scale
  before insert or update of level on learning.user_skills
  for each row
  execute function plinth.keep_scale('2', 'level');

comment on table learning.user_skills is 'One row per user and skill they have added.';
comment on column learning.user_skills.user_id is 'The user.';
comment on column learning.user_skills.skill_id is 'The skill.';
comment on column learning.user_skills.level is 'Proficiency from 0 to 10; always the sum of the evidence.';
comment on column learning.user_skills.created_at is 'Time when the skill was added.';
comment on column learning.user_skills.updated_at is 'Time of the level''s last change.';
comment on constraint user_skills_level_has_two_decimals on learning.user_skills is 'The level must have at most two decimals.';

create policy insert_own on learning.user_skills
  for insert to :PLINTH_USER
  with check (user_id = (select plinth.current_user_id()) and (skill_id in ( select s.id
   from learning.skills s)));
comment on policy insert_own on learning.user_skills is 'Users add skills they can see.';
create policy select_manager on learning.user_skills
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills'::text)));
comment on policy select_manager on learning.user_skills is 'Users with manage_skills read all levels.';
create policy select_own on learning.user_skills
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.user_skills is 'Users read their own levels.';

grant select, insert (skill_id) on learning.user_skills to :PLINTH_USER;

-- Views -----------------------------------------------------------------------------------------------

-- Grain: one row per user and skill that the user has, trains or has content for.
create view learning.learning_analytics with (security_invoker=true) as
 with taught as (
         select p.user_id,
            cs.skill_id,
            count(*) as items_started,
            count(p.completed_at) as items_completed,
            learning.time_spent(sum(p.active_seconds), array_agg(p.active)) as active_seconds,
            max(p.last_activity_at) as last_activity_at
           from learning.content_skills cs
             join learning.content_progress p on p.item_id = cs.item_id
          group by p.user_id, cs.skill_id
        ), evidence as (
         select e_1.user_id,
            e_1.skill_id,
            count(*) as evidence_count,
            sum(e_1.delta) filter (where e_1.created_at > (now() - '30 days'::interval)) as level_gained_30_days,
            max(e_1.created_at) as last_evidence_at
           from learning.skill_evidence e_1
          group by e_1.user_id, e_1.skill_id
        )
 select user_id,
    skill_id,
    coalesce(us.level, 0::numeric) as level,
    coalesce(e.level_gained_30_days, 0::numeric) as level_gained_30_days,
    coalesce(e.evidence_count, 0::bigint)::integer as evidence_count,
    t.status as training_status,
    t.progress as training_progress,
    coalesce(c.items_started, 0::bigint)::integer as items_started,
    coalesce(c.items_completed, 0::bigint)::integer as items_completed,
    coalesce(c.active_seconds, 0::bigint) as active_seconds,
    greatest(c.last_activity_at, e.last_evidence_at, t.updated_at) as last_activity_at
   from learning.user_skills us
     full join learning.training t using (user_id, skill_id)
     full join taught c using (user_id, skill_id)
     left join evidence e using (user_id, skill_id);

comment on view learning.learning_analytics is E'@primaryKey user_id,skill_id\n@foreignKey (user_id) references identity.users (id)|@behavior -*\n@foreignKey (skill_id) references learning.skills (id)|@foreignFieldName analytics\n@name learning_analytics\nGrain: one row per user and skill that the user has, trains or has content for.';
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

grant select on learning.learning_analytics to :PLINTH_USER;

-- Grain: one row per item that the caller, even a visitor, can see: whether the caller may read its text, and why.
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

comment on view learning.my_content_access is E'@name contentAccessDecision\n@behavior -query:resource:list -query:resource:connection -query:resource:single\n@primaryKey content_id\n@foreignKey (content_id) references learning.content_items (id)|@fieldName item|@foreignFieldName access\nGrain: one row per item that the caller, even a visitor, can see: whether the caller may read its text, and why.';
comment on column learning.my_content_access.content_id is 'The item.';
comment on column learning.my_content_access.has_access is 'Whether the caller may read its text.';
comment on column learning.my_content_access.reason is 'Reason. With access: editor, author, preview, permission or plan. Without: not_available, denied, sign_in_required, plan_required or prerequisites_missing.';
comment on column learning.my_content_access.required_access_level is 'Access level that a plan needs.';

grant select on learning.my_content_access to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Grain: one row per available item that is not a course: the caller's progress in it.
create view learning.my_item_progress with (security_invoker=true) as
 select i.id as item_id,
    i.course_id,
    i.category_id,
    p.completed_at is not null as is_completed,
    coalesce(p.progress, 0::numeric) as progress,
    coalesce(p.active_seconds, 0::bigint) as active_seconds,
    p.last_activity_at,
    p.active
   from learning.content_items i
     left join learning.content_progress p on p.item_id = i.id and p.user_id = (( select plinth.current_user_id() as current_user_id))
  where i.content_type <> 'course'::text and i.available_from <= now() and (i.available_until is null or i.available_until > now());

comment on view learning.my_item_progress is E'@behavior -*\nGrain: one row per available item that is not a course: the caller''s progress in it.';
comment on column learning.my_item_progress.item_id is 'The item.';
comment on column learning.my_item_progress.course_id is 'Course that contains the item, or null.';
comment on column learning.my_item_progress.category_id is 'Category of the item.';
comment on column learning.my_item_progress.is_completed is 'Whether the item was completed, in any version.';
comment on column learning.my_item_progress.progress is 'Progress, 0.0 to 1.0; 1 is completed.';
comment on column learning.my_item_progress.active_seconds is 'Time spent with the item, in seconds.';
comment on column learning.my_item_progress.last_activity_at is 'Time the item was last played; null if never.';
comment on column learning.my_item_progress.active is 'Time ranges of the active seconds; see learning.time_spent.';

grant select on learning.my_item_progress to :PLINTH_ANONYMOUS, :PLINTH_USER;

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
     cross join lateral ( select
                case
                    when not u.is_active then 'account_inactive'::text
                    else learning.access_reason(l.is_editor, i.author_id = u.id, i.available_from <= now() and (i.available_until is null or i.available_until > now()), coalesce(own.permission, course.permission), i.is_preview, true, i.effective_access_level, l.plan_level, coalesce(own.waives_prerequisites, course.waives_prerequisites), (exists ( select
                       from learning.content_prerequisites p
                      where (p.item_id = any (array[i.id, i.course_id])) and not learning.is_prerequisite_met(u.id, p.required_item_id))))
                end as reason
         offset 0) r
  where u.id = (( select plinth.current_user_id() as current_user_id)) or (( select plinth.current_user_id() as current_user_id)) is null or ( select access.has_permission('manage_content_access'::text) as has_permission);

comment on view learning.user_content_access is E'@behavior -*\nGrain: one row per user and item that the caller can see: whether the user may read its text, and why.';
comment on column learning.user_content_access.user_id is 'The user.';
comment on column learning.user_content_access.content_id is 'The item.';
comment on column learning.user_content_access.has_access is 'Whether the user may read the item''s text.';
comment on column learning.user_content_access.reason is 'Reason. With access: editor, author, preview, permission or plan. Without: account_inactive, not_available, denied, sign_in_required, plan_required or prerequisites_missing.';
comment on column learning.user_content_access.required_access_level is 'Access level that a plan needs.';

grant select on learning.user_content_access to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Returns why a user has or lacks access to an item.
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

comment on function learning.access_reason(is_editor boolean, is_author boolean, is_available boolean, permission text, is_preview boolean, is_signed_in boolean, required_level integer, plan_level integer, waives_prerequisites boolean, misses_prerequisites boolean) is E'@behavior -*\nReturns why a user has or lacks access to an item.';
revoke execute on function learning.access_reason(is_editor boolean, is_author boolean, is_available boolean, permission text, is_preview boolean, is_signed_in boolean, required_level integer, plan_level integer, waives_prerequisites boolean, misses_prerequisites boolean) from public;
grant execute on function learning.access_reason(is_editor boolean, is_author boolean, is_available boolean, permission text, is_preview boolean, is_signed_in boolean, required_level integer, plan_level integer, waives_prerequisites boolean, misses_prerequisites boolean) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Raises or lowers a user's level (within 0 to 10) and stores the change as evidence; repeating it with the same event_key changes nothing. Needs manage_skills. PL409 for an event_key that was used for another assessment, PL404 for an unknown user or skill, PL422 for a delta outside -10 to 10.
create or replace function learning.assess_skill(user_id uuid, skill_id uuid, delta numeric, note text default null::text, event_key text default null::text)
  returns learning.skill_evidence
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
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

comment on function learning.assess_skill(user_id uuid, skill_id uuid, delta numeric, note text, event_key text) is 'Raises or lowers a user''s level (within 0 to 10) and stores the change as evidence; repeating it with the same event_key changes nothing. Needs manage_skills. PL409 for an event_key that was used for another assessment, PL404 for an unknown user or skill, PL422 for a delta outside -10 to 10.';
revoke execute on function learning.assess_skill(user_id uuid, skill_id uuid, delta numeric, note text, event_key text) from public;
grant execute on function learning.assess_skill(user_id uuid, skill_id uuid, delta numeric, note text, event_key text) to :PLINTH_USER;

-- Trigger: raises PL409 when a move to another course makes prerequisites circular.
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
    raise exception 'This would make the prerequisites circular.'
      using errcode = 'PL409', schema = 'learning', table = 'content_items', column = 'course_id';
  end if;
  return null;
end
$$;

comment on function learning.check_moved_lesson() is 'Trigger: raises PL409 when a move to another course makes prerequisites circular.';
revoke execute on function learning.check_moved_lesson() from public;

-- Trigger: raises PL409 for circular prerequisites.
create or replace function learning.check_prerequisite()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.check_prerequisite() from public;

-- Marks an item as completed by the signed-in user, in its current or the given version; repeating it changes nothing. PL409 for a course (completed by its parts) and for a video with a known duration (completed by playing it). PL401, PL403 with the reason as hint, PL404.
create or replace function learning.complete_item(item_id uuid, version integer default null::integer)
  returns learning.content_progress
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function learning.complete_item(item_id uuid, version integer) is E'@resultFieldName progress\nMarks an item as completed by the signed-in user, in its current or the given version; repeating it changes nothing. PL409 for a course (completed by its parts) and for a video with a known duration (completed by playing it). PL401, PL403 with the reason as hint, PL404.';
revoke execute on function learning.complete_item(item_id uuid, version integer) from public;
grant execute on function learning.complete_item(item_id uuid, version integer) to :PLINTH_USER;

-- Returns for each of these items, in their order, whether the caller may read its text, the reason, and the prerequisites still to be completed.
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

comment on function learning.content_access(item_ids uuid[]) is 'Returns for each of these items, in their order, whether the caller may read its text, the reason, and the prerequisites still to be completed.';
revoke execute on function learning.content_access(item_ids uuid[]) from public;
grant execute on function learning.content_access(item_ids uuid[]) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Progress of the signed-in user in all items of the category and its subcategories.
create or replace function learning.content_categories_progress(category learning.content_categories)
  returns learning.progress_summary
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select learning.sum_progress(
    count(*), count(*) filter (where m.is_completed), sum(m.progress),
    learning.time_spent(sum(m.active_seconds), array_agg(m.active)), max(m.last_activity_at)
  )
  from learning.content_categories c
  join learning.my_item_progress m on m.category_id = c.id
  where c.id = category.id or c.path like category.path || '/%'
$$;

comment on function learning.content_categories_progress(category learning.content_categories) is E'@fieldName progress\nProgress of the signed-in user in all items of the category and its subcategories.';
revoke execute on function learning.content_categories_progress(category learning.content_categories) from public;
grant execute on function learning.content_categories_progress(category learning.content_categories) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Progress of the signed-in user in the item; for a course, in its parts.
create or replace function learning.content_items_progress(item learning.content_items)
  returns learning.progress_summary
  language sql
  stable
  set search_path to 'pg_catalog'
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

comment on function learning.content_items_progress(item learning.content_items) is E'@fieldName progress\nProgress of the signed-in user in the item; for a course, in its parts.';
revoke execute on function learning.content_items_progress(item learning.content_items) from public;
grant execute on function learning.content_items_progress(item learning.content_items) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the number of items in a search (the same arguments) by content_type, level, language, category and tag (the 30 most frequent), largest first.
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

comment on function learning.content_search_facets(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer) is 'Returns the number of items in a search (the same arguments) by content_type, level, language, category and tag (the 30 most frequent), largest first.';
revoke execute on function learning.content_search_facets(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer) from public;
grant execute on function learning.content_search_facets(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: starts a training at the progress of the items its user has completed.
create or replace function learning.count_completed_items()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform private.advance_training(new.user_id, new.skill_id);
  return null;
end
$$;

comment on function learning.count_completed_items() is 'Trigger: starts a training at the progress of the items its user has completed.';
revoke execute on function learning.count_completed_items() from public;

-- Trigger: updates an item's rating_count and rating_sum.
create or replace function learning.count_rating()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.count_rating() from public;

-- Returns the learners of a course and their progress in its parts, furthest first. For its author and for users with manage_skills; PL404 for other callers.
create or replace function learning.course_learners(course_id uuid)
  returns table(user_id uuid, item_count integer, completed_count integer, progress numeric, active_seconds bigint, last_activity_at timestamp with time zone, completed_version integer, completed_at timestamp with time zone)
  language plpgsql
  stable security definer rows 100
  set search_path to 'pg_catalog'
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

comment on function learning.course_learners(course_id uuid) is 'Returns the learners of a course and their progress in its parts, furthest first. For its author and for users with manage_skills; PL404 for other callers.';
revoke execute on function learning.course_learners(course_id uuid) from public;
grant execute on function learning.course_learners(course_id uuid) to :PLINTH_USER;

-- Trigger: records a completed training as evidence of the skill.
create or replace function learning.credit_training()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.credit_training() from public;

-- Hides an item, and all parts of a course, and keeps all data. Needs edit_content (PL403); PL404 for an unknown item.
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

comment on function learning.delete_content(item_id uuid) is 'Hides an item, and all parts of a course, and keeps all data. Needs edit_content (PL403); PL404 for an unknown item.';
revoke execute on function learning.delete_content(item_id uuid) from public;
grant execute on function learning.delete_content(item_id uuid) to :PLINTH_USER;

-- Trigger: a changed permission applies from the next heartbeat on.
create or replace function learning.forget_checked_access()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.forget_checked_access() from public;

-- Returns whether a reason grants access: editor, author, preview, permission or plan.
create or replace function learning.gives_access(reason text)
  returns boolean
  language sql
  immutable parallel safe
as $$
  select reason in ('editor', 'author', 'preview', 'permission', 'plan')
$$;

comment on function learning.gives_access(reason text) is E'@behavior -*\nReturns whether a reason grants access: editor, author, preview, permission or plan.';
revoke execute on function learning.gives_access(reason text) from public;
grant execute on function learning.gives_access(reason text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: rejects changing, deleting or adding the text of a published version (PL409).
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
revoke execute on function learning.guard_published_body() from public;

-- Trigger: rejects changing or deleting a published version (PL409).
create or replace function learning.guard_published_version()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.guard_published_version() from public;

-- Returns whether the user has completed the item in any version, or all parts of the course; false for a caller who may not know.
create or replace function learning.has_completed(user_id uuid, item_id uuid)
  returns boolean
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'
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

comment on function learning.has_completed(user_id uuid, item_id uuid) is E'@behavior -*\nReturns whether the user has completed the item in any version, or all parts of the course; false for a caller who may not know.';
revoke execute on function learning.has_completed(user_id uuid, item_id uuid) from public;
grant execute on function learning.has_completed(user_id uuid, item_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns whether the user holds edit_content; false for a caller who may not know.
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

comment on function learning.is_content_editor(user_id uuid) is E'@behavior -*\nReturns whether the user holds edit_content; false for a caller who may not know.';
revoke execute on function learning.is_content_editor(user_id uuid) from public;
grant execute on function learning.is_content_editor(user_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns whether the user has completed the item, or no user can because it is not available.
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

comment on function learning.is_prerequisite_met(user_id uuid, required_item_id uuid) is E'@behavior -*\nReturns whether the user has completed the item, or no user can because it is not available.';
revoke execute on function learning.is_prerequisite_met(user_id uuid, required_item_id uuid) from public;
grant execute on function learning.is_prerequisite_met(user_id uuid, required_item_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: serializes changes of the category tree.
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

comment on function learning.lock_content_tree() is 'Trigger: serializes changes of the category tree.';
revoke execute on function learning.lock_content_tree() from public;

-- Trigger: serializes changes of prerequisites.
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

comment on function learning.lock_prerequisites() is 'Trigger: serializes changes of prerequisites.';
revoke execute on function learning.lock_prerequisites() from public;

-- Returns whether the caller may know what a user has access to.
create or replace function learning.may_ask_about(user_id uuid)
  returns boolean
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'
as $$
  select case
    when may_ask_about.user_id = plinth.current_user_id() then true
    -- The owner, or a function of the owner that a job runs.
    when pg_has_role(session_user, current_user, 'member') then true
    else access.has_permission('manage_content_access')
  end
$$;

comment on function learning.may_ask_about(user_id uuid) is E'@behavior -*\nReturns whether the caller may know what a user has access to.';
revoke execute on function learning.may_ask_about(user_id uuid) from public;
grant execute on function learning.may_ask_about(user_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Moves a category and its subcategories under another category, or to the top. Needs edit_content (PL404); PL409 for a move below itself.
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
    raise exception 'Category not found, or you may not move it.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function learning.move_category(category_id uuid, new_parent_id uuid) is 'Moves a category and its subcategories under another category, or to the top. Needs edit_content (PL404); PL409 for a move below itself.';
revoke execute on function learning.move_category(category_id uuid, new_parent_id uuid) from public;
grant execute on function learning.move_category(category_id uuid, new_parent_id uuid) to :PLINTH_USER;

-- Trigger: updates the paths of the categories below a moved one.
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

comment on function learning.move_subcategories() is 'Trigger: updates the paths of the categories below a moved one.';
revoke execute on function learning.move_subcategories() from public;

-- Trigger: the state machine of a training; PL409 for an invalid transition.
create or replace function learning.move_training()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function learning.move_training() is 'Trigger: the state machine of a training; PL409 for an invalid transition.';
revoke execute on function learning.move_training() from public;

-- Trigger: adds evidence for a level that was written directly.
create or replace function learning.note_skill_level()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.note_skill_level() from public;

-- Pauses the signed-in user's training; its progress is kept. PL404 when there is none, PL409 when it is completed.
create or replace function learning.pause_training(skill_id uuid)
  returns learning.training
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function learning.pause_training(skill_id uuid) is 'Pauses the signed-in user''s training; its progress is kept. PL404 when there is none, PL409 when it is completed.';
revoke execute on function learning.pause_training(skill_id uuid) from public;
grant execute on function learning.pause_training(skill_id uuid) to :PLINTH_USER;

-- Trigger: sets a category's path and depth; PL409 for a cycle.
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

comment on function learning.publish_content(item_id uuid, publish_from timestamp with time zone, publish_until timestamp with time zone) is 'Publishes an item''s draft, or its newest version again, now or within a window. Needs edit_content (PL403); PL404 for an unknown item, PL409 for a deleted one, PL422 without a text.';
revoke execute on function learning.publish_content(item_id uuid, publish_from timestamp with time zone, publish_until timestamp with time zone) from public;
grant execute on function learning.publish_content(item_id uuid, publish_from timestamp with time zone, publish_until timestamp with time zone) to :PLINTH_USER;

-- Rates an item from 1 to 5, or changes the caller's rating. PL401 for visitors, PL404 for an item the caller may not read, PL422 for another number.
create or replace function learning.rate_content(item_id uuid, rating integer, review text default ''::text)
  returns learning.content_ratings
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function learning.rate_content(item_id uuid, rating integer, review text) is 'Rates an item from 1 to 5, or changes the caller''s rating. PL401 for visitors, PL404 for an item the caller may not read, PL422 for another number.';
revoke execute on function learning.rate_content(item_id uuid, rating integer, review text) from public;
grant execute on function learning.rate_content(item_id uuid, rating integer, review text) to :PLINTH_USER;

-- Returns the published text of an item. PL401 or PL403 with the reason as hint (denied, sign_in_required, plan_required, prerequisites_missing), PL404 when there is none.
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

comment on function learning.read_content(item_id uuid) is 'Returns the published text of an item. PL401 or PL403 with the reason as hint (denied, sign_in_required, plan_required, prerequisites_missing), PL404 when there is none.';
revoke execute on function learning.read_content(item_id uuid) from public;
grant execute on function learning.read_content(item_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the items that the signed-in user may learn next, best first: available, accessible, not completed, with all prerequisites completed, and only the next part of a course.
create or replace function learning.recommend_items(max_count integer default 10)
  returns table(item_id uuid, slug text, title text, reason text, score numeric, level_fit numeric, popularity numeric, trains_skill boolean, is_begun boolean, is_next_in_course boolean, item_level integer, user_level numeric, skill_names text[], prerequisites_completed integer)
  language plpgsql
  stable security definer rows 10
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_general_level numeric;
  v_candidates uuid[];
  v_limit integer;
begin
  if v_user_id is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
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

comment on function learning.recommend_items(max_count integer) is E'Returns the items that the signed-in user may learn next, best first: available, accessible, not completed, with all prerequisites completed, and only the next part of a course.\nscore = 0.4 × level_fit + 0.2 × popularity + 0.2 × trains_skill + 0.1 × is_begun + 0.1 × is_next_in_course.\nlevel_fit is 1 - |item_level - user_level| / 10, popularity the share of the most popular candidate''s score. reason is the first that applies: begun, next_in_course, trains_skill, popular (0.5 and more), fits_level (0.8 and more), available.';
revoke execute on function learning.recommend_items(max_count integer) from public;
grant execute on function learning.recommend_items(max_count integer) to :PLINTH_USER;

-- Trigger: records which courses and trainings a change of content completed, and the next time that availability changes.
create or replace function learning.record_changed_content()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function learning.record_changed_content() is 'Trigger: records which courses and trainings a change of content completed, and the next time that availability changes.';
revoke execute on function learning.record_changed_content() from public;

-- Trigger: records which trainings a change of a skill's items completed.
create or replace function learning.record_changed_skills()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function learning.record_changed_skills() is 'Trigger: records which trainings a change of a skill''s items completed.';
revoke execute on function learning.record_changed_skills() from public;

-- Trigger: records completions by time before content changes.
create or replace function learning.record_content_before()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  while private.record_due_completions(1000) = 1000 loop
  end loop;
  return null;
end
$$;

comment on function learning.record_content_before() is 'Trigger: records completions by time before content changes.';
revoke execute on function learning.record_content_before() from public;

-- Records that the signed-in user played an item from one second to another, in active_seconds (if omitted, the length played) that ended at occurred_at (default now), in its current or the given version. Each event_id is recorded once, in any order, up to 30 days late. PL401, PL403 with the reason as hint, PL404, PL409 for an event_id that was used for another heartbeat, PL422.
create or replace function learning.record_heartbeat(item_id uuid, event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer default null::integer, occurred_at timestamp with time zone default null::timestamp with time zone, version integer default null::integer)
  returns learning.content_progress
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_active_seconds constant integer := coalesce(active_seconds, to_seconds - from_seconds);
  v_occurred_at constant timestamptz := coalesce(occurred_at, now());
  v_problem constant text := private.heartbeat_problem(event_id, from_seconds, to_seconds, v_active_seconds, v_occurred_at);
  v_open record;
  v_progress learning.content_progress;
begin
  if v_user_id is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
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

comment on function learning.record_heartbeat(item_id uuid, event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer) is E'@resultFieldName progress\nRecords that the signed-in user played an item from one second to another, in active_seconds (if omitted, the length played) that ended at occurred_at (default now), in its current or the given version. Each event_id is recorded once, in any order, up to 30 days late. PL401, PL403 with the reason as hint, PL404, PL409 for an event_id that was used for another heartbeat, PL422.';
revoke execute on function learning.record_heartbeat(item_id uuid, event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer) from public;
grant execute on function learning.record_heartbeat(item_id uuid, event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer) to :PLINTH_USER;

-- Records up to 500 heartbeats, a list of {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version} as in record_heartbeat, such as those collected offline. Reports for each whether it was recorded, repeated or refused, and why (malformed for an unreadable one). PL401, PL422.
create or replace function learning.record_heartbeats(heartbeats jsonb)
  returns setof learning.heartbeat_result
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'
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

comment on function learning.record_heartbeats(heartbeats jsonb) is E'@resultFieldName results\nRecords up to 500 heartbeats, a list of {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version} as in record_heartbeat, such as those collected offline. Reports for each whether it was recorded, repeated or refused, and why (malformed for an unreadable one). PL401, PL422.';
revoke execute on function learning.record_heartbeats(heartbeats jsonb) from public;
grant execute on function learning.record_heartbeats(heartbeats jsonb) to :PLINTH_USER;

-- Records the progress of a user's active training, from 0 to 1; 1 completes it. A value below the current progress changes nothing. Needs manage_skills. PL404 when there is no such training, PL409 when it is not active.
create or replace function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric)
  returns learning.training
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_result learning.training;
begin
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
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

comment on function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric) is 'Records the progress of a user''s active training, from 0 to 1; 1 completes it. A value below the current progress changes nothing. Needs manage_skills. PL404 when there is no such training, PL409 when it is not active.';
revoke execute on function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric) from public;
grant execute on function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric) to :PLINTH_USER;

-- Restarts the signed-in user's completed training, as its next run from 0; one that is not completed continues. PL404 when there is none.
create or replace function learning.restart_training(skill_id uuid)
  returns learning.training
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function learning.restart_training(skill_id uuid) is 'Restarts the signed-in user''s completed training, as its next run from 0; one that is not completed continues. PL404 when there is none.';
revoke execute on function learning.restart_training(skill_id uuid) from public;
grant execute on function learning.restart_training(skill_id uuid) to :PLINTH_USER;

-- Restores a deleted item. Needs edit_content (PL403); PL404 for an unknown item.
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

comment on function learning.restore_content(item_id uuid) is 'Restores a deleted item. Needs edit_content (PL403); PL404 for an unknown item.';
revoke execute on function learning.restore_content(item_id uuid) from public;
grant execute on function learning.restore_content(item_id uuid) to :PLINTH_USER;

-- Writes the draft of an item's next version, replacing an earlier draft. Needs edit_content (PL403); PL404 for an unknown item.
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

comment on function learning.save_draft(item_id uuid, body text, body_format text, change_note text) is 'Writes the draft of an item''s next version, replacing an earlier draft. Needs edit_content (PL403); PL404 for an unknown item.';
revoke execute on function learning.save_draft(item_id uuid, body text, body_format text, change_note text) from public;
grant execute on function learning.save_draft(item_id uuid, body text, body_format text, change_note text) to :PLINTH_USER;

-- Returns the text search configuration of a language tag; simple if PostgreSQL has none.
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

comment on function learning.search_configuration(language text) is E'@behavior -*\nReturns the text search configuration of a language tag; simple if PostgreSQL has none.';
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

comment on function learning.search_content(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer, max_results integer, skip integer) is E'Searches available content by title, tags and summary, best first; without a query, newest first.\nquery: words, "a phrase", or, -not. language: only that language and its regional variants; by default each item is searched in its own. categoryId: with all subcategories. tags: all of them. maxResults: up to 100.\ntitleHtml and summaryHtml are escaped, with <mark> around matches. isSimilar: no item has the words; these titles are similar.';
revoke execute on function learning.search_content(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer, max_results integer, skip integer) from public;
grant execute on function learning.search_content(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer, max_results integer, skip integer) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the words of an item, stemmed in its language and weighted: title A, tags B, summary C.
create or replace function learning.search_document(language text, title text, summary text, tags text[])
  returns tsvector
  language sql
  immutable parallel safe
begin atomic
  select ((setweight(plinth.search_document(language, title), 'A'::"char") || setweight(plinth.search_document(language, array_to_string(tags, ' '::text)), 'B'::"char")) || setweight(plinth.search_document(language, summary), 'C'::"char"));
end;

comment on function learning.search_document(language text, title text, summary text, tags text[]) is E'@behavior -*\nReturns the words of an item, stemmed in its language and weighted: title A, tags B, summary C.';
revoke execute on function learning.search_document(language text, title text, summary text, tags text[]) from public;
grant execute on function learning.search_document(language text, title text, summary text, tags text[]) to :PLINTH_USER;

-- Trigger: normalizes the tags, and computes level and window from those of the item and its course.
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

comment on function learning.settle_content_item() is 'Trigger: normalizes the tags, and computes level and window from those of the item and its course.';
revoke execute on function learning.settle_content_item() from public;

-- Trigger: copies a course's new window or level to its lessons.
create or replace function learning.settle_lessons()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.settle_lessons() from public;

-- Starts the signed-in user's training in a skill, or resumes it after a pause; an active one is unchanged. PL404 for an unknown skill, PL409 for a completed training.
create or replace function learning.start_training(skill_id uuid)
  returns learning.training
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function learning.start_training(skill_id uuid) is 'Starts the signed-in user''s training in a skill, or resumes it after a pause; an active one is unchanged. PL404 for an unknown skill, PL409 for a completed training.';
revoke execute on function learning.start_training(skill_id uuid) from public;
grant execute on function learning.start_training(skill_id uuid) to :PLINTH_USER;

-- Combines sums over items into a summary; progress is their average.
create or replace function learning.sum_progress(item_count bigint, completed_count bigint, progress_sum numeric, active_seconds numeric, last_activity_at timestamp with time zone)
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

comment on function learning.sum_progress(item_count bigint, completed_count bigint, progress_sum numeric, active_seconds numeric, last_activity_at timestamp with time zone) is E'@behavior -*\nCombines sums over items into a summary; progress is their average.';
revoke execute on function learning.sum_progress(item_count bigint, completed_count bigint, progress_sum numeric, active_seconds numeric, last_activity_at timestamp with time zone) from public;
grant execute on function learning.sum_progress(item_count bigint, completed_count bigint, progress_sum numeric, active_seconds numeric, last_activity_at timestamp with time zone) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: sets a level to the sum of its evidence.
create or replace function learning.sum_skill_evidence()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function learning.sum_skill_evidence() from public;

-- Returns the seconds of several rows together, each second of the clock counted once: their sum and their known time ranges.
create or replace function learning.time_spent(active_seconds numeric, stretches int4multirange[])
  returns bigint
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'
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

comment on function learning.time_spent(active_seconds numeric, stretches int4multirange[]) is E'@behavior -*\nReturns the seconds of several rows together, each second of the clock counted once: their sum and their known time ranges.';
revoke execute on function learning.time_spent(active_seconds numeric, stretches int4multirange[]) from public;
grant execute on function learning.time_spent(active_seconds numeric, stretches int4multirange[]) to :PLINTH_ANALYST, :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Withdraws an item, and all parts of a course. Its versions stay. Needs edit_content (PL403); PL404 for an unknown item.
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

comment on function learning.unpublish_content(item_id uuid) is 'Withdraws an item, and all parts of a course. Its versions stay. Needs edit_content (PL403); PL404 for an unknown item.';
revoke execute on function learning.unpublish_content(item_id uuid) from public;
grant execute on function learning.unpublish_content(item_id uuid) to :PLINTH_USER;

-- Returns the access level of the user's current plan; 0 without a plan, and for a caller who may not know.
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

comment on function learning.user_plan_level(user_id uuid) is E'@behavior -*\nReturns the access level of the user''s current plan; 0 without a plan, and for a caller who may not know.';
revoke execute on function learning.user_plan_level(user_id uuid) from public;
grant execute on function learning.user_plan_level(user_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
