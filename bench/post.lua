-- wrk posts readings that nobody has posted before, and prints what became of them as JSON.
--
-- Arguments: START DEVICES MINUTES FILE... : the first minute in epoch seconds, how many devices'
-- readings of how many minutes a request holds, and a file for each thread, which readings.py has
-- written. They are joined from prepared strings, so that the cores are left to the server.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  local devices
  start, devices, minutes = tonumber(arguments[1]), tonumber(arguments[2]), tonumber(arguments[3])
  local lines = {}
  for line in io.lines(arguments[4 + number % (#arguments - 3)]) do
    lines[#lines + 1] = line:gsub("\\n", "\n")
  end
  path, opening, between, closing, minute_form = unpack(lines, 1, 5)
  batches = {}
  for first = 6, #lines - devices + 1, devices do
    local parts = { lines[first] }
    for i = first + 1, first + devices - 1 do
      parts[#parts + 1] = between .. lines[i]
    end
    parts[#parts + 1] = ""
    batches[#batches + 1] = parts
  end
  headers = { ["Content-Type"] = "application/json" }
  sent = 0
end

function request()
  local first = math.floor(sent / #batches) * minutes
  local parts = batches[sent % #batches + 1]
  sent = sent + 1
  local readings = {}
  for minute = first, first + minutes - 1 do
    local time = start + 60 * minute
    local of_the_minute = minute_form
      :gsub("@time@", os.date("!%Y-%m-%dT%H:%M:%SZ", time))
      :gsub("@epoch@", tostring(time))
      :gsub("@counter@", string.format("%.3f", 100 + minute / 64))
    readings[#readings + 1] = table.concat(parts, of_the_minute)
  end
  local body = opening .. table.concat(readings, between) .. closing
  return wrk.format("POST", path, headers, body)
end

function done(summary, latency)
  io.write(string.format(
    '{"requests":%d,"refused":%d,"broken":%d,"seconds":%.6f,"p50":%.3f,"p99":%.3f}\n',
    summary.requests, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
