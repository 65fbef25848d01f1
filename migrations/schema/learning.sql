-- Schema learning as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema learning;
comment on schema learning is 'Skills, content, access to content, and learning progress.';
grant usage on schema learning to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Types and sequences ---------------------------------------------------------------------------------

-- Reason a user has or lacks access to a content item.
create domain learning.content_access_reason as text
  constraint content_access_reason_check check (value = any (array['editor'::text, 'author'::text, 'preview'::text, 'permission'::text, 'plan'::text, 'not_available'::text, 'denied'::text, 'sign_in_required'::text, 'plan_required'::text, 'prerequisites_missing'::text]));

comment on domain learning.content_access_reason is 'Reason a user has or lacks access to a content item.';
comment on constraint content_access_reason_check on domain learning.content_access_reason is E'editor: Access: the user edits content.\nauthor: Access: the user is the author.\npreview: Access: the item is a free preview.\npermission: Access: the item is permitted to the user.\nplan: Access: the user''s plan includes the item.\nnot_available: No access: the item does not exist or is not available now.\ndenied: No access: the item is denied to the user.\nsign_in_required: No access: visitors must sign in.\nplan_required: No access: a higher plan is needed.\nprerequisites_missing: No access: other items must be completed first.';

-- Facet of a content search.
create domain learning.content_search_facet as text
  constraint content_search_facet_check check (value = any (array['content_type'::text, 'level'::text, 'language'::text, 'category'::text, 'tag'::text]));

comment on domain learning.content_search_facet is 'Facet of a content search.';
comment on constraint content_search_facet_check on domain learning.content_search_facet is E'content_type: The type of the item.\nlevel: The level of the item.\nlanguage: The language of the item.\ncategory: The category of the item.\ntag: A tag of the item.';

-- Outcome of a heartbeat. Each is final: retry only if no response arrives.
create domain learning.heartbeat_outcome as text
  constraint heartbeat_outcome_check check (value = any (array['recorded'::text, 'repeated'::text, 'refused'::text]));

comment on domain learning.heartbeat_outcome is 'Outcome of a heartbeat. Each is final: retry only if no response arrives.';
comment on constraint heartbeat_outcome_check on domain learning.heartbeat_outcome is E'recorded: Recorded.\nrepeated: Recorded before; nothing changed.\nrefused: Refused; see the reason.';

-- Reason a heartbeat was refused.
create domain learning.heartbeat_refusal as text
  constraint heartbeat_refusal_check check (value = any (array['event_id'::text, 'from_seconds'::text, 'to_seconds'::text, 'active_seconds'::text, 'occurred_at'::text, 'malformed'::text, 'no_such_version'::text, 'not_available'::text, 'denied'::text, 'sign_in_required'::text, 'plan_required'::text, 'prerequisites_missing'::text]));

comment on domain learning.heartbeat_refusal is 'Reason a heartbeat was refused.';
comment on constraint heartbeat_refusal_check on domain learning.heartbeat_refusal is E'event_id: The event id is missing or was used for another heartbeat.\nfrom_seconds: The start of the section is invalid.\nto_seconds: The end of the section is invalid.\nactive_seconds: The active time is invalid.\noccurred_at: The time is missing, in the future or older than 30 days.\nmalformed: The heartbeat is unreadable.\nno_such_version: The item has no such version.\nnot_available: The item does not exist or is not available now.\ndenied: The item is denied to the user.\nsign_in_required: Visitors must sign in.\nplan_required: A higher plan is needed.\nprerequisites_missing: Other items must be completed first.';

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

-- Reason a content item is recommended: the first that applies.
create domain learning.recommendation_reason as text
  constraint recommendation_reason_check check (value = any (array['begun'::text, 'next_in_course'::text, 'trains_skill'::text, 'popular'::text, 'fits_level'::text, 'available'::text]));

comment on domain learning.recommendation_reason is 'Reason a content item is recommended: the first that applies.';
comment on constraint recommendation_reason_check on domain learning.recommendation_reason is E'begun: The user has started it.\nnext_in_course: The next part of a course that the user has started.\ntrains_skill: Teaches a skill that the user trains.\npopular: Popular with other users.\nfits_level: Fits the user''s level.\navailable: Available to the user.';

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
comment on constraint content_bodies_body_format_check on learning.content_bodies is E'Format of a text.\nmarkdown: Markdown.\nhtml: HTML.\ntext: Plain text.\njson: JSON.\nurl: The URL of a text that is hosted elsewhere.';
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

create index content_consumption_created_at_started_at_idx on learning.content_consumption using brin ((created_at at time zone 'UTC'::text), (started_at at time zone 'UTC'::text));
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
create trigger _490_check_course
  after insert or update of course_id on learning.content_items
  for each row
  when (new.course_id is not null)
  execute function learning.check_course();
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
comment on constraint content_items_content_type_check on learning.content_items is E'@name content_type\nType of a content item.\ncourse: A course, made of other items.\nlesson: A lesson.\narticle: An article.\nvideo: A video.\nexercise: An exercise.\nquiz: A quiz.\nproject: A project.';
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

comment on table learning.content_prerequisites is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\nOne row per item and the item that must be completed before it.';
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

comment on table learning.content_ratings is E'@behavior -insert -update\nOne row per user and item they rated. Totals are on the item.';
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
create trigger _490_require_visible_skill
  after insert on learning.content_skills
  for each row
  execute function learning.require_visible_skill();
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

comment on table learning.content_skills is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\nOne row per item and skill that it teaches.';
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

comment on table learning.content_versions is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\nOne row per version of an item. Published versions never change.';
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
comment on constraint skill_evidence_kind_check on learning.skill_evidence is E'Kind of evidence for a skill.\ninitial: The level at the start.\nassessment: An assessment by a person or the application.\ntraining: A completed training.\ncontent: Completed content items.\nadjustment: A level entered by the owner.';
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
comment on constraint training_status_check on learning.training is E'Status of a training.\npending: Not started, or paused.\nactive: In progress.\ncompleted: Completed.';

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
comment on constraint user_content_permissions_permission_check on learning.user_content_permissions is E'@name content_permission_effect\nEffect of a content permission.\nallow: Grants access, as a plan would.\ndeny: Denies access, whatever the plan.';
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
  immutable parallel safe; -- fixtures/learning/functions/access_reason.sql

comment on function learning.access_reason(is_editor boolean, is_author boolean, is_available boolean, permission text, is_preview boolean, is_signed_in boolean, required_level integer, plan_level integer, waives_prerequisites boolean, misses_prerequisites boolean) is E'@behavior -*\nReturns why a user has or lacks access to an item.';
revoke execute on function learning.access_reason(is_editor boolean, is_author boolean, is_available boolean, permission text, is_preview boolean, is_signed_in boolean, required_level integer, plan_level integer, waives_prerequisites boolean, misses_prerequisites boolean) from public;
grant execute on function learning.access_reason(is_editor boolean, is_author boolean, is_available boolean, permission text, is_preview boolean, is_signed_in boolean, required_level integer, plan_level integer, waives_prerequisites boolean, misses_prerequisites boolean) to :PLINTH_ANALYST, :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Raises or lowers a user's level (within 0 to 10) and stores the change as evidence; repeating it with the same event_key changes nothing. Needs manage_skills. PL409 for an event_key that was used for another assessment, PL404 for an unknown user or skill, PL422 for a delta outside -10 to 10.
create or replace function learning.assess_skill(user_id uuid, skill_id uuid, delta numeric, note text default null::text, event_key text default null::text)
  returns learning.skill_evidence
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/assess_skill.sql

comment on function learning.assess_skill(user_id uuid, skill_id uuid, delta numeric, note text, event_key text) is 'Raises or lowers a user''s level (within 0 to 10) and stores the change as evidence; repeating it with the same event_key changes nothing. Needs manage_skills. PL409 for an event_key that was used for another assessment, PL404 for an unknown user or skill, PL422 for a delta outside -10 to 10.';
revoke execute on function learning.assess_skill(user_id uuid, skill_id uuid, delta numeric, note text, event_key text) from public;
grant execute on function learning.assess_skill(user_id uuid, skill_id uuid, delta numeric, note text, event_key text) to :PLINTH_USER;

-- Trigger: raises PL422 for a part of an item that is not a course.
create or replace function learning.check_course()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_items.sql

comment on function learning.check_course() is 'Trigger: raises PL422 for a part of an item that is not a course.';
revoke execute on function learning.check_course() from public;

-- Trigger: raises PL409 when a move to another course makes prerequisites circular.
create or replace function learning.check_moved_lesson()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_items.sql

comment on function learning.check_moved_lesson() is 'Trigger: raises PL409 when a move to another course makes prerequisites circular.';
revoke execute on function learning.check_moved_lesson() from public;

-- Trigger: raises PL409 for circular prerequisites.
create or replace function learning.check_prerequisite()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_prerequisites.sql

comment on function learning.check_prerequisite() is 'Trigger: raises PL409 for circular prerequisites.';
revoke execute on function learning.check_prerequisite() from public;

-- Marks an item as completed by the signed-in user, in its current or the given version; repeating it changes nothing. PL409 for a course (completed by its parts) and for a video with a known duration (completed by playing it). PL401, PL403 with the reason as hint, PL404.
create or replace function learning.complete_item(item_id uuid, version integer default null::integer)
  returns learning.content_progress
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/complete_item.sql

comment on function learning.complete_item(item_id uuid, version integer) is E'@resultFieldName progress\nMarks an item as completed by the signed-in user, in its current or the given version; repeating it changes nothing. PL409 for a course (completed by its parts) and for a video with a known duration (completed by playing it). PL401, PL403 with the reason as hint, PL404.';
revoke execute on function learning.complete_item(item_id uuid, version integer) from public;
grant execute on function learning.complete_item(item_id uuid, version integer) to :PLINTH_USER;

-- Returns for each of these items, in their order, whether the caller may read its text, the reason, and the prerequisites still to be completed.
create or replace function learning.content_access(item_ids uuid[])
  returns table(item_id uuid, has_access boolean, reason text, required_access_level integer, missing_prerequisites uuid[])
  language sql
  stable rows 50
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/content_access.sql

comment on function learning.content_access(item_ids uuid[]) is 'Returns for each of these items, in their order, whether the caller may read its text, the reason, and the prerequisites still to be completed.';
revoke execute on function learning.content_access(item_ids uuid[]) from public;
grant execute on function learning.content_access(item_ids uuid[]) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the progress of the signed-in user in all items of the category and its subcategories.
create or replace function learning.content_categories_progress(category learning.content_categories)
  returns learning.progress_summary
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/content_categories_progress.sql

comment on function learning.content_categories_progress(category learning.content_categories) is E'@fieldName progress\nReturns the progress of the signed-in user in all items of the category and its subcategories.';
revoke execute on function learning.content_categories_progress(category learning.content_categories) from public;
grant execute on function learning.content_categories_progress(category learning.content_categories) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the progress of the signed-in user in the item; for a course, in its parts.
create or replace function learning.content_items_progress(item learning.content_items)
  returns learning.progress_summary
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/content_items_progress.sql

comment on function learning.content_items_progress(item learning.content_items) is E'@fieldName progress\nReturns the progress of the signed-in user in the item; for a course, in its parts.';
revoke execute on function learning.content_items_progress(item learning.content_items) from public;
grant execute on function learning.content_items_progress(item learning.content_items) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the number of items in a search (the same arguments) by content_type, level, language, category and tag (the 30 most frequent), largest first.
create or replace function learning.content_search_facets(query text default ''::text, language text default null::text, content_types text[] default null::text[], category_id uuid default null::uuid, tags text[] default null::text[], min_level integer default null::integer, max_level integer default null::integer)
  returns table(facet text, value text, label text, item_count bigint)
  language plpgsql
  stable security definer rows 50
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_custom_plan'; -- fixtures/learning/functions/content_search_facets.sql

comment on function learning.content_search_facets(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer) is 'Returns the number of items in a search (the same arguments) by content_type, level, language, category and tag (the 30 most frequent), largest first.';
revoke execute on function learning.content_search_facets(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer) from public;
grant execute on function learning.content_search_facets(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: starts a training at the progress of the items its user has completed.
create or replace function learning.count_completed_items()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/training.sql

comment on function learning.count_completed_items() is 'Trigger: starts a training at the progress of the items its user has completed.';
revoke execute on function learning.count_completed_items() from public;

-- Trigger: updates an item's rating_count and rating_sum.
create or replace function learning.count_rating()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_ratings.sql

comment on function learning.count_rating() is 'Trigger: updates an item''s rating_count and rating_sum.';
revoke execute on function learning.count_rating() from public;

-- Returns the learners of a course and their progress in its parts, furthest first. For its author and for users with manage_skills; PL404 for other callers.
create or replace function learning.course_learners(course_id uuid)
  returns table(user_id uuid, item_count integer, completed_count integer, progress numeric, active_seconds bigint, last_activity_at timestamp with time zone, completed_version integer, completed_at timestamp with time zone)
  language plpgsql
  stable security definer rows 100
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/course_learners.sql

comment on function learning.course_learners(course_id uuid) is 'Returns the learners of a course and their progress in its parts, furthest first. For its author and for users with manage_skills; PL404 for other callers.';
revoke execute on function learning.course_learners(course_id uuid) from public;
grant execute on function learning.course_learners(course_id uuid) to :PLINTH_USER;

-- Trigger: records a completed training as evidence of the skill.
create or replace function learning.credit_training()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/training.sql

comment on function learning.credit_training() is 'Trigger: records a completed training as evidence of the skill.';
revoke execute on function learning.credit_training() from public;

-- Hides an item, and all parts of a course, and keeps all data. Needs edit_content (PL403); PL404 for an unknown item.
create or replace function learning.delete_content(item_id uuid)
  returns learning.content_items
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/delete_content.sql

comment on function learning.delete_content(item_id uuid) is 'Hides an item, and all parts of a course, and keeps all data. Needs edit_content (PL403); PL404 for an unknown item.';
revoke execute on function learning.delete_content(item_id uuid) from public;
grant execute on function learning.delete_content(item_id uuid) to :PLINTH_USER;

-- Trigger: a changed permission applies from the next heartbeat on.
create or replace function learning.forget_checked_access()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/user_content_permissions.sql

comment on function learning.forget_checked_access() is 'Trigger: a changed permission applies from the next heartbeat on.';
revoke execute on function learning.forget_checked_access() from public;

-- Returns whether a reason grants access: editor, author, preview, permission or plan.
create or replace function learning.gives_access(reason text)
  returns boolean
  language sql
  immutable parallel safe; -- fixtures/learning/functions/gives_access.sql

comment on function learning.gives_access(reason text) is E'@behavior -*\nReturns whether a reason grants access: editor, author, preview, permission or plan.';
revoke execute on function learning.gives_access(reason text) from public;
grant execute on function learning.gives_access(reason text) to :PLINTH_ANALYST, :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: rejects changing, deleting or adding the text of a published version (PL409).
create or replace function learning.guard_published_body()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_bodies.sql

comment on function learning.guard_published_body() is 'Trigger: rejects changing, deleting or adding the text of a published version (PL409).';
revoke execute on function learning.guard_published_body() from public;

-- Trigger: rejects changing or deleting a published version (PL409).
create or replace function learning.guard_published_version()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_versions.sql

comment on function learning.guard_published_version() is 'Trigger: rejects changing or deleting a published version (PL409).';
revoke execute on function learning.guard_published_version() from public;

-- Returns whether the user has completed the item in any version, or all parts of the course; false for a caller who may not know.
create or replace function learning.has_completed(user_id uuid, item_id uuid)
  returns boolean
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/has_completed.sql

comment on function learning.has_completed(user_id uuid, item_id uuid) is E'@behavior -*\nReturns whether the user has completed the item in any version, or all parts of the course; false for a caller who may not know.';
revoke execute on function learning.has_completed(user_id uuid, item_id uuid) from public;
grant execute on function learning.has_completed(user_id uuid, item_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns whether the user holds edit_content; false for a caller who may not know.
create or replace function learning.is_content_editor(user_id uuid)
  returns boolean
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/is_content_editor.sql

comment on function learning.is_content_editor(user_id uuid) is E'@behavior -*\nReturns whether the user holds edit_content; false for a caller who may not know.';
revoke execute on function learning.is_content_editor(user_id uuid) from public;
grant execute on function learning.is_content_editor(user_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns whether the user has completed the item, or no user can because it is not available.
create or replace function learning.is_prerequisite_met(user_id uuid, required_item_id uuid)
  returns boolean
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/is_prerequisite_met.sql

comment on function learning.is_prerequisite_met(user_id uuid, required_item_id uuid) is E'@behavior -*\nReturns whether the user has completed the item, or no user can because it is not available.';
revoke execute on function learning.is_prerequisite_met(user_id uuid, required_item_id uuid) from public;
grant execute on function learning.is_prerequisite_met(user_id uuid, required_item_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: serializes changes of the category tree.
create or replace function learning.lock_content_tree()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_categories.sql

comment on function learning.lock_content_tree() is 'Trigger: serializes changes of the category tree.';
revoke execute on function learning.lock_content_tree() from public;

-- Trigger: serializes changes of prerequisites.
create or replace function learning.lock_prerequisites()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/lock_prerequisites.sql

comment on function learning.lock_prerequisites() is 'Trigger: serializes changes of prerequisites.';
revoke execute on function learning.lock_prerequisites() from public;

-- Returns whether the caller may know what a user has access to.
create or replace function learning.may_ask_about(user_id uuid)
  returns boolean
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/may_ask_about.sql

comment on function learning.may_ask_about(user_id uuid) is E'@behavior -*\nReturns whether the caller may know what a user has access to.';
revoke execute on function learning.may_ask_about(user_id uuid) from public;
grant execute on function learning.may_ask_about(user_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Moves a category and its subcategories under another category, or to the top. Needs edit_content (PL404); PL409 for a move below itself.
create or replace function learning.move_category(category_id uuid, new_parent_id uuid default null::uuid)
  returns learning.content_categories
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/move_category.sql

comment on function learning.move_category(category_id uuid, new_parent_id uuid) is 'Moves a category and its subcategories under another category, or to the top. Needs edit_content (PL404); PL409 for a move below itself.';
revoke execute on function learning.move_category(category_id uuid, new_parent_id uuid) from public;
grant execute on function learning.move_category(category_id uuid, new_parent_id uuid) to :PLINTH_USER;

-- Trigger: updates the paths of the categories below a moved one.
create or replace function learning.move_subcategories()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_categories.sql

comment on function learning.move_subcategories() is 'Trigger: updates the paths of the categories below a moved one.';
revoke execute on function learning.move_subcategories() from public;

-- Trigger: the state machine of a training; PL409 for an invalid transition.
create or replace function learning.move_training()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/training.sql

comment on function learning.move_training() is 'Trigger: the state machine of a training; PL409 for an invalid transition.';
revoke execute on function learning.move_training() from public;

-- Trigger: adds evidence for a level that was written directly.
create or replace function learning.note_skill_level()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/user_skills.sql

comment on function learning.note_skill_level() is 'Trigger: adds evidence for a level that was written directly.';
revoke execute on function learning.note_skill_level() from public;

-- Pauses the signed-in user's training; its progress is kept. PL404 when there is none, PL409 when it is completed.
create or replace function learning.pause_training(skill_id uuid)
  returns learning.training
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/pause_training.sql

comment on function learning.pause_training(skill_id uuid) is 'Pauses the signed-in user''s training; its progress is kept. PL404 when there is none, PL409 when it is completed.';
revoke execute on function learning.pause_training(skill_id uuid) from public;
grant execute on function learning.pause_training(skill_id uuid) to :PLINTH_USER;

-- Trigger: sets a category's path and depth; PL409 for a cycle.
create or replace function learning.place_category()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_categories.sql

comment on function learning.place_category() is 'Trigger: sets a category''s path and depth; PL409 for a cycle.';
revoke execute on function learning.place_category() from public;

-- Publishes an item's draft, or its newest version again, now or within a window. Needs edit_content (PL403); PL404 for an unknown item, PL409 for a deleted one, PL422 without a text.
create or replace function learning.publish_content(item_id uuid, publish_from timestamp with time zone default null::timestamp with time zone, publish_until timestamp with time zone default null::timestamp with time zone)
  returns learning.content_items
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/publish_content.sql

comment on function learning.publish_content(item_id uuid, publish_from timestamp with time zone, publish_until timestamp with time zone) is 'Publishes an item''s draft, or its newest version again, now or within a window. Needs edit_content (PL403); PL404 for an unknown item, PL409 for a deleted one, PL422 without a text.';
revoke execute on function learning.publish_content(item_id uuid, publish_from timestamp with time zone, publish_until timestamp with time zone) from public;
grant execute on function learning.publish_content(item_id uuid, publish_from timestamp with time zone, publish_until timestamp with time zone) to :PLINTH_USER;

-- Rates an item from 1 to 5, or changes the caller's rating. PL401 for visitors, PL404 for an item the caller may not read, PL422 for another number.
create or replace function learning.rate_content(item_id uuid, rating integer, review text default ''::text)
  returns learning.content_ratings
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/rate_content.sql

comment on function learning.rate_content(item_id uuid, rating integer, review text) is 'Rates an item from 1 to 5, or changes the caller''s rating. PL401 for visitors, PL404 for an item the caller may not read, PL422 for another number.';
revoke execute on function learning.rate_content(item_id uuid, rating integer, review text) from public;
grant execute on function learning.rate_content(item_id uuid, rating integer, review text) to :PLINTH_USER;

-- Returns the published text of an item. PL401 or PL403 with the reason as hint (denied, sign_in_required, plan_required, prerequisites_missing), PL404 when there is none.
create or replace function learning.read_content(item_id uuid)
  returns learning.content_bodies
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/read_content.sql

comment on function learning.read_content(item_id uuid) is 'Returns the published text of an item. PL401 or PL403 with the reason as hint (denied, sign_in_required, plan_required, prerequisites_missing), PL404 when there is none.';
revoke execute on function learning.read_content(item_id uuid) from public;
grant execute on function learning.read_content(item_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the items that the signed-in user may learn next, best first: available, accessible, not completed, with all prerequisites completed, and only the next part of a course.
create or replace function learning.recommend_items(max_count integer default 10)
  returns table(item_id uuid, slug text, title text, reason text, score numeric, level_fit numeric, popularity numeric, trains_skill boolean, is_begun boolean, is_next_in_course boolean, item_level integer, user_level numeric, skill_names text[], prerequisites_completed integer)
  language plpgsql
  stable security definer rows 10
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/recommend_items.sql

comment on function learning.recommend_items(max_count integer) is E'Returns the items that the signed-in user may learn next, best first: available, accessible, not completed, with all prerequisites completed, and only the next part of a course.\nscore = 0.4 × level_fit + 0.2 × popularity + 0.2 × trains_skill + 0.1 × is_begun + 0.1 × is_next_in_course.\nlevel_fit is 1 - |item_level - user_level| / 10, popularity the share of the most popular candidate''s score. reason is the first that applies: begun, next_in_course, trains_skill, popular (0.5 and more), fits_level (0.8 and more), available.';
revoke execute on function learning.recommend_items(max_count integer) from public;
grant execute on function learning.recommend_items(max_count integer) to :PLINTH_USER;

-- Trigger: records which courses and trainings a change of content completed, and the next time that availability changes.
create or replace function learning.record_changed_content()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_items.sql

comment on function learning.record_changed_content() is 'Trigger: records which courses and trainings a change of content completed, and the next time that availability changes.';
revoke execute on function learning.record_changed_content() from public;

-- Trigger: records which trainings a change of a skill's items completed.
create or replace function learning.record_changed_skills()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_skills.sql

comment on function learning.record_changed_skills() is 'Trigger: records which trainings a change of a skill''s items completed.';
revoke execute on function learning.record_changed_skills() from public;

-- Trigger: records completions by time before content changes.
create or replace function learning.record_content_before()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/record_content_before.sql

comment on function learning.record_content_before() is 'Trigger: records completions by time before content changes.';
revoke execute on function learning.record_content_before() from public;

-- Records that the signed-in user played an item from one second to another, in active_seconds (if omitted, the length played) that ended at occurred_at (default now), in its current or the given version. Each event_id is recorded once, in any order, up to 30 days late. PL401, PL403 with the reason as hint, PL404, PL409 for an event_id that was used for another heartbeat, PL422.
create or replace function learning.record_heartbeat(item_id uuid, event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer default null::integer, occurred_at timestamp with time zone default null::timestamp with time zone, version integer default null::integer)
  returns learning.content_progress
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/learning/functions/record_heartbeat.sql

comment on function learning.record_heartbeat(item_id uuid, event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer) is E'@resultFieldName progress\nRecords that the signed-in user played an item from one second to another, in active_seconds (if omitted, the length played) that ended at occurred_at (default now), in its current or the given version. Each event_id is recorded once, in any order, up to 30 days late. PL401, PL403 with the reason as hint, PL404, PL409 for an event_id that was used for another heartbeat, PL422.';
revoke execute on function learning.record_heartbeat(item_id uuid, event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer) from public;
grant execute on function learning.record_heartbeat(item_id uuid, event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer) to :PLINTH_USER;

-- Records up to 500 heartbeats, a list of {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version} as in record_heartbeat, such as those collected offline. Reports for each whether it was recorded, repeated or refused, and why (malformed for an unreadable one). PL401, PL422.
create or replace function learning.record_heartbeats(heartbeats jsonb)
  returns setof learning.heartbeat_result
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/learning/functions/record_heartbeats.sql

comment on function learning.record_heartbeats(heartbeats jsonb) is E'@resultFieldName results\nRecords up to 500 heartbeats, a list of {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version} as in record_heartbeat, such as those collected offline. Reports for each whether it was recorded, repeated or refused, and why (malformed for an unreadable one). PL401, PL422.';
revoke execute on function learning.record_heartbeats(heartbeats jsonb) from public;
grant execute on function learning.record_heartbeats(heartbeats jsonb) to :PLINTH_USER;

-- Records the progress of a user's active training, from 0 to 1; 1 completes it. A value below the current progress changes nothing. Needs manage_skills. PL404 when there is no such training, PL409 when it is not active.
create or replace function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric)
  returns learning.training
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/record_training_progress.sql

comment on function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric) is 'Records the progress of a user''s active training, from 0 to 1; 1 completes it. A value below the current progress changes nothing. Needs manage_skills. PL404 when there is no such training, PL409 when it is not active.';
revoke execute on function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric) from public;
grant execute on function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric) to :PLINTH_USER;

-- Trigger: raises 23503 for a skill that the caller cannot see.
create or replace function learning.require_visible_skill()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_skills.sql

comment on function learning.require_visible_skill() is 'Trigger: raises 23503 for a skill that the caller cannot see.';
revoke execute on function learning.require_visible_skill() from public;

-- Restarts the signed-in user's completed training, as its next run from 0; one that is not completed continues. PL404 when there is none.
create or replace function learning.restart_training(skill_id uuid)
  returns learning.training
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/restart_training.sql

comment on function learning.restart_training(skill_id uuid) is 'Restarts the signed-in user''s completed training, as its next run from 0; one that is not completed continues. PL404 when there is none.';
revoke execute on function learning.restart_training(skill_id uuid) from public;
grant execute on function learning.restart_training(skill_id uuid) to :PLINTH_USER;

-- Restores a deleted item. Needs edit_content (PL403); PL404 for an unknown item.
create or replace function learning.restore_content(item_id uuid)
  returns learning.content_items
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/restore_content.sql

comment on function learning.restore_content(item_id uuid) is 'Restores a deleted item. Needs edit_content (PL403); PL404 for an unknown item.';
revoke execute on function learning.restore_content(item_id uuid) from public;
grant execute on function learning.restore_content(item_id uuid) to :PLINTH_USER;

-- Writes the draft of an item's next version, replacing an earlier draft. Needs edit_content (PL403); PL404 for an unknown item.
create or replace function learning.save_draft(item_id uuid, body text default null::text, body_format text default 'markdown'::text, change_note text default ''::text)
  returns learning.content_versions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/save_draft.sql

comment on function learning.save_draft(item_id uuid, body text, body_format text, change_note text) is 'Writes the draft of an item''s next version, replacing an earlier draft. Needs edit_content (PL403); PL404 for an unknown item.';
revoke execute on function learning.save_draft(item_id uuid, body text, body_format text, change_note text) from public;
grant execute on function learning.save_draft(item_id uuid, body text, body_format text, change_note text) to :PLINTH_USER;

-- Returns the text search configuration of a language tag; simple if PostgreSQL has none.
create or replace function learning.search_configuration(language text)
  returns regconfig
  language sql
  immutable parallel safe; -- fixtures/learning/functions/search_configuration.sql

comment on function learning.search_configuration(language text) is E'@behavior -*\nReturns the text search configuration of a language tag; simple if PostgreSQL has none.';
revoke execute on function learning.search_configuration(language text) from public;
grant execute on function learning.search_configuration(language text) to :PLINTH_USER;

-- Searches available content by title, tags and summary, best first; without a query, newest first.
create or replace function learning.search_content(query text default ''::text, language text default null::text, content_types text[] default null::text[], category_id uuid default null::uuid, tags text[] default null::text[], min_level integer default null::integer, max_level integer default null::integer, max_results integer default 20, skip integer default 0)
  returns table(item learning.content_items, rank real, title_html text, summary_html text, is_similar boolean)
  language plpgsql
  stable security definer rows 20
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_custom_plan'; -- fixtures/learning/functions/search_content.sql

comment on function learning.search_content(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer, max_results integer, skip integer) is E'Searches available content by title, tags and summary, best first; without a query, newest first.\nquery: words, "a phrase", or, -not. language: only that language and its regional variants; by default each item is searched in its own. categoryId: with all subcategories. tags: all of them. maxResults: up to 100.\ntitleHtml and summaryHtml are escaped, with <mark> around matches. isSimilar: no item has the words; these titles are similar.';
revoke execute on function learning.search_content(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer, max_results integer, skip integer) from public;
grant execute on function learning.search_content(query text, language text, content_types text[], category_id uuid, tags text[], min_level integer, max_level integer, max_results integer, skip integer) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the words of an item, stemmed in its language and weighted: title A, tags B, summary C.
create or replace function learning.search_document(language text, title text, summary text, tags text[])
  returns tsvector
  language sql
  immutable parallel safe; -- fixtures/learning/functions/search_document.sql

comment on function learning.search_document(language text, title text, summary text, tags text[]) is E'@behavior -*\nReturns the words of an item, stemmed in its language and weighted: title A, tags B, summary C.';
revoke execute on function learning.search_document(language text, title text, summary text, tags text[]) from public;
grant execute on function learning.search_document(language text, title text, summary text, tags text[]) to :PLINTH_USER;

-- Trigger: normalizes the tags, and computes level and window from those of the item and its course.
create or replace function learning.settle_content_item()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_items.sql

comment on function learning.settle_content_item() is 'Trigger: normalizes the tags, and computes level and window from those of the item and its course.';
revoke execute on function learning.settle_content_item() from public;

-- Trigger: copies a course's new window or level to its lessons.
create or replace function learning.settle_lessons()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/content_items.sql

comment on function learning.settle_lessons() is 'Trigger: copies a course''s new window or level to its lessons.';
revoke execute on function learning.settle_lessons() from public;

-- Starts the signed-in user's training in a skill, or resumes it after a pause; an active one is unchanged. PL404 for an unknown skill, PL409 for a completed training.
create or replace function learning.start_training(skill_id uuid)
  returns learning.training
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/start_training.sql

comment on function learning.start_training(skill_id uuid) is 'Starts the signed-in user''s training in a skill, or resumes it after a pause; an active one is unchanged. PL404 for an unknown skill, PL409 for a completed training.';
revoke execute on function learning.start_training(skill_id uuid) from public;
grant execute on function learning.start_training(skill_id uuid) to :PLINTH_USER;

-- Combines sums over items into a summary; progress is their average.
create or replace function learning.sum_progress(item_count bigint, completed_count bigint, progress_sum numeric, active_seconds numeric, last_activity_at timestamp with time zone)
  returns learning.progress_summary
  language sql
  immutable; -- fixtures/learning/functions/sum_progress.sql

comment on function learning.sum_progress(item_count bigint, completed_count bigint, progress_sum numeric, active_seconds numeric, last_activity_at timestamp with time zone) is E'@behavior -*\nCombines sums over items into a summary; progress is their average.';
revoke execute on function learning.sum_progress(item_count bigint, completed_count bigint, progress_sum numeric, active_seconds numeric, last_activity_at timestamp with time zone) from public;
grant execute on function learning.sum_progress(item_count bigint, completed_count bigint, progress_sum numeric, active_seconds numeric, last_activity_at timestamp with time zone) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: sets a level to the sum of its evidence.
create or replace function learning.sum_skill_evidence()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/triggers/skill_evidence.sql

comment on function learning.sum_skill_evidence() is 'Trigger: sets a level to the sum of its evidence.';
revoke execute on function learning.sum_skill_evidence() from public;

-- Returns the seconds of several rows together, each second of the clock counted once: their sum and their known time ranges.
create or replace function learning.time_spent(active_seconds numeric, stretches int4multirange[])
  returns bigint
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/time_spent.sql

comment on function learning.time_spent(active_seconds numeric, stretches int4multirange[]) is E'@behavior -*\nReturns the seconds of several rows together, each second of the clock counted once: their sum and their known time ranges.';
revoke execute on function learning.time_spent(active_seconds numeric, stretches int4multirange[]) from public;
grant execute on function learning.time_spent(active_seconds numeric, stretches int4multirange[]) to :PLINTH_ANALYST, :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Withdraws an item, and all parts of a course. Its versions stay. Needs edit_content (PL403); PL404 for an unknown item.
create or replace function learning.unpublish_content(item_id uuid)
  returns learning.content_items
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/unpublish_content.sql

comment on function learning.unpublish_content(item_id uuid) is 'Withdraws an item, and all parts of a course. Its versions stay. Needs edit_content (PL403); PL404 for an unknown item.';
revoke execute on function learning.unpublish_content(item_id uuid) from public;
grant execute on function learning.unpublish_content(item_id uuid) to :PLINTH_USER;

-- Returns the access level of the user's current plan; 0 without a plan, and for a caller who may not know.
create or replace function learning.user_plan_level(user_id uuid)
  returns integer
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/functions/user_plan_level.sql

comment on function learning.user_plan_level(user_id uuid) is E'@behavior -*\nReturns the access level of the user''s current plan; 0 without a plan, and for a caller who may not know.';
revoke execute on function learning.user_plan_level(user_id uuid) from public;
grant execute on function learning.user_plan_level(user_id uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
