# Knocks with a one-time token: .\knock.ps1 HOST REALM SERVICE FILE [PORT] [AHEAD]
# FILE holds the secret, 64 hexadecimal digits. For PowerShell 5.1 and newer. NOT TRIED: its author had no PowerShell at hand.
param([string]$To, [string]$Realm, [string]$Service, [string]$File, [int]$Port = 62201, [int]$Ahead = 0)
$hex = (Get-Content -Raw $File).Trim()
$key = [byte[]](0..31 | ForEach-Object { [Convert]::ToByte($hex.Substring(2 * $_, 2), 16) })
$window = [Math]::Floor([DateTimeOffset]::UtcNow.ToUnixTimeSeconds() / 60) + $Ahead
$hmac = [Security.Cryptography.HMACSHA256]::new($key)
$hash = $hmac.ComputeHash([Text.Encoding]::ASCII.GetBytes("knockd-nft/1 $Realm $Service $window"))
$token = ([BitConverter]::ToString($hash) -replace '-').ToLower().Substring(0, 32)
if ($To -eq '-') { return $token } # for a look at it
$data = [Text.Encoding]::ASCII.GetBytes('knockd-nft/1'.PadRight(24) + $token)
$address = [Net.Dns]::GetHostAddresses($To)[0]
[void][Net.Sockets.UdpClient]::new($address.AddressFamily).Send($data, $data.Length, [Net.IPEndPoint]::new($address, $Port))
