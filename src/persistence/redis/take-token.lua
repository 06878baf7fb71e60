-- Takes one token from a bucket that starts full and refills evenly. One atomic step, on the server's clock.
--
-- KEYS[1]  the bucket. Holds one number: the epoch microsecond at which it will be full again.
-- ARGV[1]  capacity, tokens
-- ARGV[2]  window, ms: an empty bucket is full again after it
-- Returns  0 when a token was taken; else the microseconds until there is one
local capacity = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
-- Whole microseconds: sums of fractions would lose a token.
local token = math.max(1, math.floor(tonumber(ARGV[2]) * 1000 / capacity))
local full_at = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0')) + token
local over = full_at - now - token * capacity
if over > 0 then
  return over
end
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return 0
