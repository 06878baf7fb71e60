-- Takes one token from a bucket that starts full and refills evenly. One atomic step, on the server's clock.
--
-- KEYS[1]  the bucket. Holds one number: the epoch ms at which it will be full again.
-- ARGV[1]  capacity, tokens
-- ARGV[2]  window, ms: an empty bucket is full again after it
-- Returns  0 when a token was taken; else the ms until there is one (at least 1)
local capacity = tonumber(ARGV[1])
local window = tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local full_at = tonumber(redis.call('GET', KEYS[1]) or '0')
local next_full = math.max(now, full_at) + window / capacity
local over = next_full - now - window
-- Thousandths of a millisecond are the rounding of repeated sums, not a token.
if over > 0.001 then
  return math.max(1, math.ceil(over))
end
redis.call('SET', KEYS[1], string.format('%.6f', next_full), 'PX', math.max(1, math.ceil(next_full - now)))
return 0
