-- What format 3 adds: the secrets under which addresses are hashed while a period lasts. Not derived from the journal, in
-- no export; overwritten when they are deleted.

CREATE TABLE period_key (
    until INTEGER PRIMARY KEY,
    secret BLOB NOT NULL
) STRICT;
