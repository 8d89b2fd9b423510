-- Batch bodies are stored as they are: looking for something to compress in Avro costs more than the space, and they go when
-- they are old.
alter table batch alter column body set storage external;
