-- wrk posts readings that nobody has posted before, and prints what became of them as JSON.
--
-- Arguments: START SIZE FILE... : the first minute in epoch seconds, readings a request, and a file
-- for each thread, which readings.py has written. A request holds SIZE devices' readings of one
-- minute. They are joined from prepared strings, so that the cores are left to the server.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  start, size = tonumber(arguments[1]), tonumber(arguments[2])
  local lines = {}
  for line in io.lines(arguments[3 + number % (#arguments - 2)]) do
    lines[#lines + 1] = line:gsub("\\n", "\n")
  end
  path, minute_form = lines[1], lines[5]
  batches = {}
  for first = 6, #lines - size + 1, size do
    local parts = {}
    for i = first, first + size - 1 do
      parts[#parts + 1] = (i == first and lines[2] or lines[3]) .. lines[i]
    end
    parts[#parts + 1] = lines[4]
    batches[#batches + 1] = parts
  end
  headers = { ["Content-Type"] = "application/json" }
  sent = 0
end

function request()
  local minute = math.floor(sent / #batches)
  local parts = batches[sent % #batches + 1]
  sent = sent + 1
  local time = start + 60 * minute
  local of_the_minute = minute_form
    :gsub("@time@", os.date("!%Y-%m-%dT%H:%M:%SZ", time))
    :gsub("@epoch@", tostring(time))
    :gsub("@counter@", string.format("%.3f", 100 + minute / 64))
  return wrk.format("POST", path, headers, table.concat(parts, of_the_minute))
end

function done(summary, latency)
  io.write(string.format(
    '{"requests":%d,"refused":%d,"broken":%d,"seconds":%.6f,"p50":%.3f,"p99":%.3f}\n',
    summary.requests, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
