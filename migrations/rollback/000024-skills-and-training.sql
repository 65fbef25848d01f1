drop function
  learning.record_training_progress(uuid, uuid, numeric),
  learning.restart_training(uuid),
  learning.pause_training(uuid),
  learning.start_training(uuid),
  learning.assess_skill(uuid, uuid, numeric, text, text),
  private.lock_own_account(),
  private.add_skill_evidence(uuid, uuid, text, numeric, text, text);
drop table learning.training, learning.skill_evidence, learning.user_skills, learning.skills;
drop function
  learning.credit_training(), learning.move_training(), learning.note_skill_level(), learning.sum_skill_evidence();
-- With it go the roles' shares in it.
delete from access.permissions where permission_name = 'manage_skills';
