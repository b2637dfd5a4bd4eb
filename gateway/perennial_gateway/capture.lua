-- Keeps what passes of a prediction for the access log that hands it to the agent; see capture.py.
-- Bodies are looked at as they pass and never held up. Each write of metadata costs as much as a kilobyte, so there is one
-- for each side.

local KEPT, TOO_LARGE = "perennial.capture", "-"

-- Whether a body is compressed or holds raw tensors; to be asked before it passes, when its headers are gone.
local function is_binary(headers)
  return headers:get("content-encoding") or headers:get("inference-header-content-length")
end

-- Returns the bytes that passed, or nil if they are more than `most`; they pass in any case. What is binary is written as
-- text, since metadata ends at a zero byte.
local function collect(handle, most, binary)
  local parts, size = {}, 0
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    size = size + length
    if size <= most then
      parts[#parts + 1] = chunk:getBytes(0, length)
    else
      parts = {}
    end
  end
  if size > most then return nil end
  local bytes = table.concat(parts)
  return binary and handle:base64Escape(bytes) or bytes
end

function envoy_on_request(handle)
  local headers = handle:headers()
  -- Copies come through a listener that knows no routes: they bring theirs along.
  local route = handle:filterContext():get("route") or headers:get("x-perennial-capture")
  if not route then return end
  local path = string.match(headers:get(":path"), "^[^?]*")
  if headers:get(":method") ~= "POST" or not string.find(path, "/v2/models/[^?]+/infer$") then return end
  local asked = collect(handle, MOST_BYTES, is_binary(headers))
  handle:streamInfo():dynamicMetadata():set(KEPT, "asked", route .. "\n" .. (asked or TOO_LARGE))
end

function envoy_on_response(handle)
  local kept, headers = handle:streamInfo():dynamicMetadata():get(KEPT), handle:headers()
  if not kept or headers:get(":status") ~= "200" then return end
  local answered = collect(handle, MOST_BYTES - #kept["asked"], is_binary(headers))
  -- Only now is the answer whole; the access log goes by this.
  handle:streamInfo():dynamicMetadata():set(KEPT, "answered", answered or TOO_LARGE)
end
