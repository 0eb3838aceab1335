-- What format 2 adds: unique codes, and what was counted of banners. Neither is derived from the journal: no rebuild
-- touches them.

-- Jobs that make unique codes. `num` stands for the job in `code`.
CREATE TABLE code_job (
    num INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    offer TEXT NOT NULL,
    prefix TEXT NOT NULL,
    start INTEGER NOT NULL,
    count INTEGER NOT NULL,
    done INTEGER NOT NULL,
    state TEXT NOT NULL,
    actor TEXT NOT NULL,
    at INTEGER NOT NULL,
    print BLOB NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

-- Jobs that go on, oldest first.
CREATE INDEX code_job_open ON code_job (num) WHERE state = 'open';

-- The jobs of an offer: whose codes are exported.
CREATE INDEX code_job_offer ON code_job (offer);

-- Unique codes by their normal form: one read finds the job, and so the offer. No checksum: a damaged line is a code that
-- nobody has, and the check counts each job's.
CREATE TABLE code (
    code TEXT NOT NULL PRIMARY KEY,
    job INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was counted of a banner on a day.
CREATE TABLE banner_count (
    banner TEXT NOT NULL,
    day INTEGER NOT NULL,
    servings INTEGER NOT NULL,
    impressions INTEGER NOT NULL,
    clicks INTEGER NOT NULL,
    PRIMARY KEY (banner, day)
) STRICT, WITHOUT ROWID;
