using System;
using System.IO;

/// <summary>tests.exe CHECKOUT: all tests; those against the program if KINESTREAM names it.</summary>
internal static class Program
{
    private static int Main(string[] arguments)
    {
        if (arguments.Length != 1)
        {
            Console.Error.WriteLine("usage: mono tests.exe CHECKOUT");
            return 2;
        }
        string root = Path.GetFullPath(arguments[0]);
        try
        {
            CodecTests.Run(Path.Combine(root, "bridge", "golden", "wire_v1.json"));
            FreshTests.Run();
            string program = Environment.GetEnvironmentVariable("KINESTREAM");
            if (string.IsNullOrEmpty(program))
            {
                Console.WriteLine("end to end: SKIPPED, KINESTREAM is not set to the built program");
            }
            else
            {
                EndToEndTests.Run(program, root);
            }
            return 0;
        }
        catch (Exception error)
        {
            Console.Error.WriteLine("FAILED: " + error);
            return 1;
        }
    }
}
