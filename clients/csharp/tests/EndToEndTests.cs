using System;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using Kinestream;

/// <summary>The client against the built program: a character that is steered.</summary>
internal static class EndToEndTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    internal static void Run(string program, string root)
    {
        int port = FreePort();
        using (KinestreamClient client = new KinestreamClient("ws://127.0.0.1:" + port + "/pose"))
        {
            // It comes before the program does.
            client.Start();
            Until("a problem is told", () => client.Problem != null);
            Check.That(!client.Steer(0f, 1f) && !client.Perform("jump"), "nothing is sent without a connection");
            StringBuilder said = new StringBuilder();
            using (Process character = Character(program, root, port, said))
            {
                try
                {
                    Walk(client);
                    StandStill(client, character);
                    Signal("INT", character);
                    Until("the connection is lost", () => !client.IsConnected);
                    Check.That(character.WaitForExit((int)Limit.TotalMilliseconds), "the program ends");
                    Check.Equal(0, character.ExitCode, "exit status");
                }
                catch (InvalidOperationException)
                {
                    Console.Error.WriteLine(said.ToString());
                    Console.Error.WriteLine(State(client));
                    throw;
                }
                finally
                {
                    if (!character.HasExited)
                    {
                        character.Kill();
                    }
                }
            }
            // And again after a loss.
            using (Process character = Character(program, root, port, said))
            {
                long before = client.Poses;
                try
                {
                    Until("poses come again", () => client.Poses > before);
                }
                finally
                {
                    Signal("INT", character);
                    character.WaitForExit((int)Limit.TotalMilliseconds);
                }
            }
            Console.WriteLine("end to end: " + client.Poses + " poses");
        }
    }

    private static void Walk(KinestreamClient client)
    {
        Until("a pose that idles", () => client.LastPose != null && client.LastPose.IsIdle);
        Check.Equal(22, client.Skeleton.Joints, "joints");
        Pose begun = client.LastPose;
        Until("it has walked half a metre", () =>
        {
            client.Steer(0f, 1.4f);
            Pose pose = client.LastPose;
            return !pose.IsIdle && pose.RootPosition[2] - begun.RootPosition[2] > 0.5;
        });
        double[] places = client.Skeleton.Places(client.LastPose);
        int head = Array.IndexOf(client.Skeleton.Names, "Head");
        double height = places[3 * head + 1];
        Check.That(height > 1.2 && height < 1.9, "the head is above the ground: " + height);
        Until("it idles again when nothing is asked", () => client.LastPose.IsIdle);
        string answer = null;
        client.Perform("no such action");
        Until("an answer", () => client.TryTakeAnswer(out answer));
        Check.That(answer.StartsWith("{\"error\"", StringComparison.Ordinal), answer);
        Check.That(client.LastPose.Frame > begun.Frame, "frames rise");
    }

    /// <summary>A program that holds the connection and says nothing is given up, and found again.</summary>
    private static void StandStill(KinestreamClient client, Process character)
    {
        Signal("STOP", character);
        Until("silence is noticed", () => !client.IsConnected);
        Check.That(client.Problem.Contains("said nothing"), client.Problem);
        // What was last heard of it is not taken for how it is now.
        Check.That(client.IsStale && client.LastPose != null, "the pose is old");
        string old = Check.Throws<StaleException>(() => client.LastPose.Equals(client.NewestPose), "an old pose");
        Check.That(old.StartsWith("the newest pose is ", StringComparison.Ordinal), old);
        Signal("CONT", character);
        long before = client.Poses;
        Until("poses come after the silence", () => client.IsConnected && client.Poses > before);
    }

    private static Process Character(string program, string root, int port, StringBuilder said)
    {
        ProcessStartInfo start = new ProcessStartInfo
        {
            FileName = program,
            Arguments = "demo motion --port 0 --listen tcp/127.0.0.1:0 --websocket 127.0.0.1:" + port,
            WorkingDirectory = root,
            UseShellExecute = false,
            RedirectStandardError = true,
        };
        start.EnvironmentVariables["OMP_NUM_THREADS"] = "1";
        Process process = Process.Start(start);
        process.ErrorDataReceived += (sender, line) => said.AppendLine(line.Data);
        process.BeginErrorReadLine();
        return process;
    }

    private static string State(KinestreamClient client)
    {
        Pose pose = client.LastPose;
        string seen = pose == null
            ? "none"
            : "frame " + pose.Frame + ", idle " + pose.IsIdle + ", at z " + pose.RootPosition[2];
        return "connected " + client.IsConnected + ", " + client.Poses + " poses, newest: " + seen + ", problem: "
            + client.Problem;
    }

    private static void Signal(string name, Process process)
    {
        using (Process kill = Process.Start("kill", "-" + name + " " + process.Id))
        {
            kill.WaitForExit();
        }
    }

    private static void Until(string what, Func<bool> condition)
    {
        Stopwatch waited = Stopwatch.StartNew();
        while (!condition())
        {
            Check.That(waited.Elapsed < Limit, what);
            Thread.Sleep(20);
        }
    }

    private static int FreePort()
    {
        TcpListener listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        listener.Stop();
        return port;
    }
}
