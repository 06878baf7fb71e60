-- Upkeep looks for tombstones by their age: without an index it would read every stored value to find none.
create index storage_dead on storage (updated_at) where deleted;
