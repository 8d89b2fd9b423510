-- Receipts that do not fit are counted at every look at a feed, and there are few of them.
create index receipt_mismatch on receipt (feed) where mismatch is not null;
