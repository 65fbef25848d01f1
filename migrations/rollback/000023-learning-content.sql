-- Policies ask the views, which ask functions: let go of them first.
drop policy select_accessible on learning.content_bodies;
drop policy insert_own on learning.content_ratings;
drop view learning.user_content_access;
drop function
  private.import_content(jsonb),
  private.import_content_item(jsonb),
  private.import_content_category(jsonb),
  private.export_content_item(uuid),
  learning.content_search_facets(text, text, text[], uuid, text[], integer, integer),
  learning.search_content(text, text, text[], uuid, text[], integer, integer, integer, integer),
  private.look_for_similar_titles(),
  private.content_subtree(uuid),
  private.content_matching(tsquery, text[], tsquery[], text, text[], uuid[], text[], integer, integer),
  private.content_search_terms(text, text),
  private.escape_html(text);
drop function
  learning.rate_content(uuid, integer, text),
  learning.read_content(uuid),
  learning.content_access(uuid[]);
drop view learning.my_content_access;
drop function
  learning.move_category(uuid, uuid),
  learning.restore_content(uuid),
  learning.delete_content(uuid),
  learning.unpublish_content(uuid),
  learning.publish_content(uuid, timestamptz, timestamptz),
  learning.save_draft(uuid, text, text, text),
  private.lock_content_item(uuid),
  learning.gives_access(text),
  learning.access_reason(boolean, boolean, boolean, text, boolean, boolean, integer, integer, boolean, boolean),
  learning.is_prerequisite_met(uuid, uuid),
  learning.has_completed(uuid, uuid),
  learning.is_content_editor(uuid),
  learning.user_plan_level(uuid),
  learning.may_ask_about(uuid);
alter table learning.content_items drop constraint content_items_current_version_fkey;
drop table learning.user_content_permissions, learning.content_ratings, learning.content_bodies, learning.content_versions;
-- Each asks about the other: policies of prerequisites about items.
drop table learning.content_prerequisites;
drop table learning.content_items, learning.content_categories, private.content_locks;
drop function
  learning.count_rating(),
  learning.check_moved_lesson(),
  learning.check_prerequisite(),
  learning.lock_prerequisites(),
  private.content_required_for(uuid),
  learning.guard_published_body(),
  learning.guard_published_version(),
  learning.settle_lessons(),
  learning.settle_content_item(),
  learning.move_subcategories(),
  learning.place_category(),
  learning.lock_content_tree(),
  learning.search_document(text, text, text, text[]),
  learning.search_configuration(text);
drop extension pg_trgm;
-- With it go the roles' shares in it.
delete from access.permissions where permission_name = 'manage_content_access';
drop schema learning;
