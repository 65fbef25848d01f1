drop table private.persisted_documents;

drop function
  private.announce_persisted_documents(),
  private.list_persisted_documents(text[]);
