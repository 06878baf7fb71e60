-- How many slots each owner has, and those of nobody; an owner may be gone.
select owner, count(*) as slots from slots group by owner
