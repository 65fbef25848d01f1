create view compat_ai_training.content_categories as
select c.id, c.parent_id, c.name, c.slug, c.description, c.position as sort_order, c.created_at, c.updated_at
from learning.content_categories c;

comment on view compat_ai_training.content_categories is 'Categories, which form a tree. Grain: one row per category.';
comment on column compat_ai_training.content_categories.id is 'Id.';
comment on column compat_ai_training.content_categories.parent_id is 'The category above; null at the top.';
comment on column compat_ai_training.content_categories.name is 'Name.';
comment on column compat_ai_training.content_categories.slug is 'Name in URLs, unique among siblings.';
comment on column compat_ai_training.content_categories.description is 'Description.';
comment on column compat_ai_training.content_categories.sort_order is 'Position among siblings.';
comment on column compat_ai_training.content_categories.created_at is 'Time when the category was created.';
comment on column compat_ai_training.content_categories.updated_at is 'Time of the last change.';

create view compat_ai_training.content_items as
select
  i.id,
  i.category_id,
  i.author_id,
  i.title,
  i.slug,
  i.summary as description,
  i.content_type,
  case when b.body_format <> 'url' then b.body end as body,
  case when b.body_format = 'url' then b.body end as content_url,
  i.language,
  i.tags,
  i.duration_seconds,
  i.effective_access_level as required_access_level,
  case
    when i.current_version is not null then 'published'
    when exists (select from learning.content_versions v where v.item_id = i.id and v.published_at is not null) then 'archived'
    else 'draft'
  end as status,
  coalesce(i.current_version, 1) as version,
  i.rating_average as average_rating,
  i.publish_from as published_at,
  i.created_at,
  i.updated_at,
  i.deleted_at
from learning.content_items i
left join lateral compat_ai_training.published_text(i.id, i.current_version) b on true;

comment on view compat_ai_training.content_items is 'Content. Grain: one row per item that the caller may see.';
comment on column compat_ai_training.content_items.id is 'Id.';
comment on column compat_ai_training.content_items.category_id is 'The category.';
comment on column compat_ai_training.content_items.author_id is 'The author; null if there is none.';
comment on column compat_ai_training.content_items.title is 'Title.';
comment on column compat_ai_training.content_items.slug is 'Name in URLs, unique.';
comment on column compat_ai_training.content_items.description is 'Summary.';
comment on column compat_ai_training.content_items.content_type is
  'Type: course, lesson, article, video, exercise, quiz or project.';
comment on column compat_ai_training.content_items.body is 'Published text; null without access, and for analysts.';
comment on column compat_ai_training.content_items.content_url is
  'Address of content that is hosted elsewhere; null without access, and for analysts.';
comment on column compat_ai_training.content_items.language is 'Language tag.';
comment on column compat_ai_training.content_items.tags is 'Tags.';
comment on column compat_ai_training.content_items.duration_seconds is 'Duration in seconds; null if unknown.';
comment on column compat_ai_training.content_items.required_access_level is 'Access level that a plan needs.';
comment on column compat_ai_training.content_items.status is 'State: published, archived (withdrawn) or draft.';
comment on column compat_ai_training.content_items.version is 'Published version; 1 if none is published.';
comment on column compat_ai_training.content_items.average_rating is 'Average rating, 1.00 to 5.00; null without ratings.';
comment on column compat_ai_training.content_items.published_at is 'Time of publication; null if there was none.';
comment on column compat_ai_training.content_items.created_at is 'Time when the item was created.';
comment on column compat_ai_training.content_items.updated_at is 'Time of the last change.';
comment on column compat_ai_training.content_items.deleted_at is 'Time of the deletion; null if not deleted.';

create view compat_ai_training.user_content_permissions as
select
  compat_ai_training.made_id(p.user_id::text, p.item_id::text) as id,
  p.user_id,
  p.item_id as content_id,
  p.permission,
  case when (select compat.reads_personal_data()) then p.reason end as reason,
  p.granted_by,
  p.granted_at,
  p.expires_at
from learning.user_content_permissions p;

comment on view compat_ai_training.user_content_permissions is 'Content allowed or denied to single users. Grain: one row per user and item.';
comment on column compat_ai_training.user_content_permissions.id is 'Id, made from the key of the row.';
comment on column compat_ai_training.user_content_permissions.user_id is 'The user.';
comment on column compat_ai_training.user_content_permissions.content_id is 'The item.';
comment on column compat_ai_training.user_content_permissions.permission is 'Effect: allow or deny.';
comment on column compat_ai_training.user_content_permissions.reason is 'Reason; null for analysts.';
comment on column compat_ai_training.user_content_permissions.granted_by is 'The account that decided; null if the system did.';
comment on column compat_ai_training.user_content_permissions.granted_at is 'Time of the decision.';
comment on column compat_ai_training.user_content_permissions.expires_at is 'Time when it expires; null if it does not.';

create view compat_ai_training.content_consumption as
select
  compat_ai_training.made_id(c.user_id::text, c.item_id::text, extract(epoch from c.created_at)::text) as id,
  c.user_id,
  c.item_id as content_id,
  c.started_at,
  c.last_activity_at,
  c.active_seconds as time_spent_seconds,
  coalesce(upper(c.covered), 0) as last_position_seconds,
  -- Of the session in which the user completed the item.
  case when g.completed_at between c.started_at and c.last_activity_at then g.completed_at end as completed_at,
  r.rating,
  case when (select compat.reads_personal_data()) then r.review end as review,
  c.created_at
from learning.content_consumption c
left join learning.content_progress g on g.user_id = c.user_id and g.item_id = c.item_id
left join learning.content_ratings r on r.user_id = c.user_id and r.item_id = c.item_id;

comment on view compat_ai_training.content_consumption is 'Sessions of users with content. Grain: one row per session.';
comment on column compat_ai_training.content_consumption.id is 'Id, made from the key of the row.';
comment on column compat_ai_training.content_consumption.user_id is 'The user.';
comment on column compat_ai_training.content_consumption.content_id is 'The item.';
comment on column compat_ai_training.content_consumption.started_at is 'Start of the session.';
comment on column compat_ai_training.content_consumption.last_activity_at is 'Time of the last activity.';
comment on column compat_ai_training.content_consumption.time_spent_seconds is 'Active time in seconds.';
comment on column compat_ai_training.content_consumption.last_position_seconds is 'Furthest position in the item, in seconds.';
comment on column compat_ai_training.content_consumption.completed_at is
  'Time when the user completed the item, if in this session.';
comment on column compat_ai_training.content_consumption.rating is 'The user''s rating of the item, 1 to 5; null without one.';
comment on column compat_ai_training.content_consumption.review is 'The user''s review of the item; null for analysts.';
comment on column compat_ai_training.content_consumption.created_at is 'Time when the session was recorded.';

create view compat_ai_training.learning_analytics as
select
  compat_ai_training.made_id(g.user_id::text, g.item_id::text) as id,
  g.user_id,
  g.item_id as content_id,
  g.progress,
  g.active_seconds as time_spent_seconds,
  null::numeric as average_score,
  g.completed_at,
  g.started_at as first_accessed_at,
  g.last_activity_at as last_accessed_at
from learning.content_progress g;

comment on view compat_ai_training.learning_analytics is 'Progress of users. Grain: one row per user and item.';
comment on column compat_ai_training.learning_analytics.id is 'Id, made from the key of the row.';
comment on column compat_ai_training.learning_analytics.user_id is 'The user.';
comment on column compat_ai_training.learning_analytics.content_id is 'The item.';
comment on column compat_ai_training.learning_analytics.progress is 'Progress, 0 to 1.';
comment on column compat_ai_training.learning_analytics.time_spent_seconds is 'Active time in seconds.';
comment on column compat_ai_training.learning_analytics.average_score is 'Always null: scores are not stored.';
comment on column compat_ai_training.learning_analytics.completed_at is 'Time of completion; null if not completed.';
comment on column compat_ai_training.learning_analytics.first_accessed_at is 'Time of the first activity.';
comment on column compat_ai_training.learning_analytics.last_accessed_at is 'Time of the last activity.';
